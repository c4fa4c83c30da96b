"""The web page: whole in itself, and safe with any plan."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from flowc.show import Options, show


class Page(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], {"script": [], "style": []}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")
        self._open = tag

    def handle_data(self, data):
        if self._open in self.texts:
            self.texts[self._open][-1] += data

    def handle_endtag(self, tag):
        self._open = None


def data(page):
    return json.loads(page.texts["script"][0])


def test_it_loads_nothing(study):
    text = show(study(), "html")
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not attributes.keys() & {"src", "href", "srcset", "style", "action"}
        assert not any(name.startswith("on") for name in attributes)
    # The name of SVG is an address that nobody opens.
    assert re.findall(r"https?://[^\"']*|@import|url\(", text) == ["http://www.w3.org/2000/svg"]


def test_the_policy_admits_its_own_script_and_styles_only(study):
    page = Page(show(study(), "html"))
    policy = next(
        a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    applied = [page.texts["script"][1], *page.texts["style"]]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in applied]
    assert re.findall(r"'sha256-([^']*)'", policy) == digests


def test_a_hostile_plan_adds_no_element(hostile, project):
    page = Page(show(hostile, "html"))
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("script"), tags.count("style")) == (2, 2)
    assert (
        data(page)["groups"][2]["name"]
        == "sc</script><script>alert(1)</script>/</script><script>alert(1)</script>"
    )


def test_what_the_panel_tells(study):
    plan = study()
    groups = data(Page(show(plan, "html")))["groups"]
    assert [group["name"] for group in groups] == [node.id for node in plan.nodes]
    told = dict(next(group["told"] for group in groups if group["name"] == "first/model[1]"))
    assert told.pop("source").startswith("flow.py:")
    assert told == {
        "level": "3",
        "operator": "flow:train(data: Any, width: int)",
        "gives": "float",
        "needs": "1 cpu, 1 gpu",
        "data =": "first/parts.train",
        "width =": "1",
    }


def test_every_node_of_a_collapsed_plan_can_be_found(study):
    plan = study(200)
    groups = data(Page(show(plan, "html", Options(20))))["groups"]
    found = [name for group in groups for name in group.get("ids", group["name"]).split("\n")]
    assert sorted(found) == sorted(node.id for node in plan.nodes)


def test_controls_have_names(study):
    page = Page(show(study(), "html"))
    labelled = {a.get("for") for tag, a in page.elements if tag == "label"}
    for tag, attributes in page.elements:
        if tag == "input":
            assert attributes["id"] in labelled
        if tag in ("main", "aside", "section") or attributes.get("id") in ("in", "out"):
            assert attributes["aria-label"]
        if tag == "html":
            assert attributes["lang"] == "en"


def test_levels_that_are_alike_are_one_row(project):
    text = show(project.main("x = load()\nfor i in range(100):\n    x = clean(x)\nreturn x"), "html")
    assert "<tr><td>1–100</td><td>1 each</td><td>x~clean</td></tr>" in text
