"""Fair-share trees against their published examples, and where ties and zeros lead."""

from fractions import Fraction

import pytest

from flowrun.core.sharing.trees import Account, classic, weighted_tree


def user(name, shares, usage=0):
    return Account(name, shares, usage)


def account(name, shares, *members, usage=0):
    return Account(name, shares, usage, members)


SLURM = account(
    "root",
    1,
    account(
        "A", 40,
        account("B", 30, user("user1", 1, 0.2)),
        account("C", 10, user("user2", 1, 0.25), user("user3", 1)),
    ),
    account("D", 60, account("E", 25, user("user4", 1, 0.25)), account("F", 35, user("user5", 1))),
)  # fmt: skip


def test_slurms_own_example():
    found = classic(SLURM, total=1)
    factors = {name: found[name].factor for name in ("user1", "user2", "user3", "user4", "user5")}
    assert factors == pytest.approx(
        {"user1": 0.408479, "user2": 0.022097, "user3": 0.125, "user4": 0.5, "user5": 0.749154}, abs=5e-7
    )
    assert found["user3"].usage == pytest.approx(0.15)  # it pays for user2
    assert found["user5"].shares == pytest.approx(0.35)


def test_without_any_usage_all_are_equal():
    found = classic(account("root", 1, user("a", 1), user("b", 3)))
    assert {standing.factor for standing in found.values()} == {1.0}


def test_who_has_no_shares_comes_last():
    assert classic(account("root", 1, user("a", 0), user("b", 3, 5)))["a"].factor == 0


def test_level_by_level_the_better_account_comes_first_with_all_its_users():
    tree = account(
        "r",
        1,
        account("x", 1, user("x1", 1, 90), user("x2", 1, 1), usage=91),
        account("y", 1, user("y1", 1, 9), usage=9),
    )
    assert weighted_tree(tree) == {"y1": 1, "x2": Fraction(2, 3), "x1": Fraction(1, 3)}


def test_tied_accounts_are_visited_as_one():
    tree = account(
        "r", 1,
        account("x", 10, user("x1", 1, 30), user("x2", 1, 10), usage=40),
        account("y", 1, user("y1", 1, 3), user("y2", 1, 1), usage=4),
    )  # fmt: skip
    assert weighted_tree(tree) == {"x2": 1, "y2": 1, "x1": Fraction(1, 2), "y1": Fraction(1, 2)}


def test_a_user_comes_before_an_account_of_the_same_weight():
    tree = account("r", 1, account("x", 1, user("x1", 1, 5), usage=5), user("u", 1, 5))
    assert weighted_tree(tree) == {"u": 1, "x1": Fraction(1, 2)}


def test_no_usage_is_best_and_no_shares_is_worst():
    tree = account("r", 1, user("idle", 1), user("busy", 100, 1), user("guest", 0))
    assert list(weighted_tree(tree)) == ["idle", "busy", "guest"]
