"""How commands are declared, and what becomes of a command line."""

import subprocess
import sys

import pytest

from flowc.plan.command import App, argument
from flowc.plan.diagnostics import refuse

app = App("tool", "Does things.")


@app.command(argument("what"), argument("-n", "--number", dest="times", type=int, default=1))
def say(what: str, times: int) -> None:
    """Say something.

    What follows the first paragraph is shown
      as it stands, by the command's own help.
    """
    print(what * times)


@app.command(name="fail")
def fail_with(**_: object) -> None:
    """Refuse."""
    refuse("FC201", "no plan")


@app.command(argument("what"), name="say twice")
def say_twice(what: str) -> None:
    """Say something again."""
    print(what * 2)


@app.command()
def crash() -> None:
    """Divide."""
    _ = 1 / 0


@app.command()
def wait() -> None:
    """Wait, and be interrupted."""
    raise KeyboardInterrupt


@pytest.fixture
def tool(monkeypatch, capsys):
    """Run the command; its exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/tool", *arguments])
        status = 0
        try:
            app()
        except SystemExit as ended:
            status = ended.code
        return (status, *capsys.readouterr())

    return run


def test_a_command_is_called_with_its_arguments(tool):
    assert tool("say", "ab") == (0, "ab\n", "")
    assert tool("say", "--number", "2", "ab") == (0, "abab\n", "")


def test_a_command_may_be_of_two_words(tool):
    assert tool("say", "twice", "ab") == (0, "abab\n", "")
    assert tool("say", "two") == (0, "two\n", "")
    assert "usage: tool say twice" in tool("say", "twice", "--help")[1]
    assert tool("say", "say") == (0, "say\n", "")  # a word that is a command, too


def test_a_refusal_is_exit_status_1(tool):
    status, out, err = tool("fail")
    assert (status, out) == (1, "")
    assert err.startswith("error[FC201]: no plan\n")


def test_a_fault_of_ours_is_not_hidden(tool):
    with pytest.raises(ZeroDivisionError):
        tool("crash")


def test_an_interruption_is_told_in_a_word(tool):
    assert tool("wait") == (130, "", "interrupted\n")


def test_help_names_the_commands(tool):
    status, out, err = tool("--help")
    assert (status, err) == (0, "")
    assert "usage: tool" in out
    assert "Does things." in out
    assert "commands:\n  say        Say something.\n" in out
    assert "paragraph" not in out


def test_help_names_the_commands_under_headings_and_loads_only_the_group_that_is_called(tmp_path):
    (tmp_path / "program.py").write_text(
        "from flowc.plan.command import App, Group\n"
        "groups = (Group('see', 'seeing', ('show', 'look')), Group('do', 'doing', ('make',)))\n"
        "app = App('tool', 'Does things.', groups)\n"
    )
    (tmp_path / "seeing.py").write_text(
        "from program import app\n"
        "app.command(name='look')(lambda: None)\n"
        "@app.command()\ndef show():\n    import sys; print('doing' in sys.modules)\n"
    )
    (tmp_path / "doing.py").write_text("from program import app\napp.command(name='make')(lambda: None)\n")

    def tool(argument):
        script = f"import sys, program; sys.argv = ['tool', '{argument}']; program.app()"
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout

    assert tool("--help").endswith("\n\nsee:\n  show\n  look\n\ndo:\n  make\n")
    assert tool("show") == "False\n"


def test_help_of_a_command(tool):
    status, out, _ = tool("say", "--help")
    assert status == 0
    assert "usage: tool say [-h] [-n TIMES] what" in out
    assert "Say something." in out
    assert out.endswith(
        "\n\nWhat follows the first paragraph is shown\n  as it stands, by the command's own help.\n"
    )


def test_nothing_at_all_is_answered_by_help(tool):
    status, out, err = tool()
    assert (status, err) == (2, "")
    assert "usage: tool" in out


def test_the_first_of_two_words_is_answered_by_help_about_those_that_begin_so(tool):
    @app.command(name="set up")
    def set_up() -> None:
        """Make ready."""

    status, out, err = tool("set", "--help")
    assert (status, err) == (0, "")
    assert "usage: tool set [-h] COMMAND ..." in out
    assert out.endswith("\ncommands:\n  set up     Make ready.\n")
    assert tool("set") == (2, out, "")
    status, _, err = tool("set", "down")
    assert status == 2
    assert "tool set: error: argument COMMAND: invalid choice: 'down' (choose from 'up')" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["--nonsense"], "required: COMMAND"),
        (["say"], "tool say: error: the following arguments are required: what"),
        (["say", "a", "b"], "unrecognized arguments: b"),
        (["say", "a", "--num", "2"], "unrecognized arguments: --num 2"),  # no abbreviations
        (["say", "a", "-n", "two"], "invalid int value: 'two'"),
    ],
)
def test_wrong_usage_is_exit_status_2(tool, arguments, said):
    status, out, err = tool(*arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_the_version_is_that_of_the_distribution(tool):
    from importlib.metadata import version

    assert tool("--version") == (0, f"tool {version('flow-toolchain')}\n", "")


def test_a_reader_that_has_seen_enough_is_no_error():
    script = "import sys; from flowc.plan.command import App; app = App('t', ''); sys.argv = ['t', 'many']\n"
    script += "app.command(name='many')(lambda: print('line\\n' * 100_000))\napp()"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141
