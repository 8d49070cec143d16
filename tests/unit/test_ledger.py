"""The ledger: terms, income, debt, clipping, new terms."""

from __future__ import annotations

import pytest

from stream_al.errors import ConfigurationError
from stream_al.query.ledger import TOKEN, Budget, Ledger


@pytest.mark.parametrize(
    ("terms", "word"),
    [
        ({"share": 0.0}, "query.budget"),
        ({"share": 1.1}, "query.budget"),
        ({"share": float("nan")}, "query.budget"),
        ({"floor_share": 0.0}, "query.floor_share"),
        ({"capacity": 1.9}, "query.capacity"),
        ({"capacity": 4.0, "overlap": 4}, "query.capacity"),
        ({"credit": -1.0}, "credit"),
        ({"partitions": 0}, "partitions"),
    ],
)
def test_impossible_terms_are_refused_with_the_cure(terms, word):
    with pytest.raises(ConfigurationError, match=word):
        Budget(**{"share": 0.05, **terms})


def test_the_promise_is_printed():
    assert Budget(0.01, partitions=12).bound() == "at most 1 % of events + 80 labels, 12 partitions"
    assert Budget(1.0, credit=0.0).bound() == "at most 100 % of events + 5 labels, 1 partition"


def test_an_event_earns_its_share_less_a_quarter_while_in_debt():
    budget = Budget(0.08)
    ledger = Ledger.opened(budget)
    ledger.tokens = 0
    ledger.earn(budget.income, budget.limit)
    assert (ledger.tokens, ledger.debt) == (6 * TOKEN // 100, 20 * TOKEN - 2 * TOKEN // 100)
    ledger.debt = 0
    ledger.earn(budget.income, budget.limit)
    assert ledger.tokens == 14 * TOKEN // 100


def test_what_does_not_fit_is_clipped_and_a_full_bucket_pays_no_debt():
    budget = Budget(0.5)
    ledger = Ledger.opened(budget)
    assert ledger.tokens > budget.limit
    ledger.earn(budget.income, budget.limit)
    assert (ledger.clipped, ledger.debt) == (budget.income, budget.credit_units)
    assert ledger.balanced()


def test_new_terms_cut_the_tokens_and_give_no_new_credit():
    ledger = Ledger.opened(Budget(0.1))
    cut = ledger.under(Budget(0.1, capacity=4.0, credit=500.0))
    assert (cut.tokens, cut.debt, cut.grant) == (4 * TOKEN, ledger.debt, ledger.grant)
    assert cut.balanced()
    assert ledger.tokens == 25 * TOKEN


def test_a_broken_account_does_not_balance():
    ledger = Ledger.opened(Budget(0.1))
    ledger.tokens += 1
    assert not ledger.balanced()


def test_income_is_a_multiple_of_four_and_never_nothing():
    assert Budget(0.05).income == 5 * TOKEN // 100
    assert Budget(1e-10).income == 4
    assert all(Budget(share).income % 4 == 0 for share in (0.001, 0.0123456789, 0.3, 1.0))
