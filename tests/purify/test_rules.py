import pytest
from pydantic import ValidationError

from geosemi.purify.rules import RULES, PurifySettings


def test_modes_are_their_rules():
    assert PurifySettings().rules() == RULES["recommended"]
    assert PurifySettings(mode="paper").rules() == RULES["paper"]
    assert PurifySettings(mode="released").rules() == RULES["released"]
    assert PurifySettings(mode="off").rules() is None


def test_limits_follow_tau_where_the_paper_has_one_threshold():
    paper = PurifySettings(mode="paper", tau_conf=0.8).rules()
    assert paper is not None
    assert (paper.tau_conf, paper.conflict_max_conf, paper.post_threshold) == (0.8, 0.8, 0.8)
    ours = PurifySettings(tau_conf=0.9, conflict_max_conf=0.6).rules()
    assert ours is not None
    assert (ours.tau_conf, ours.conflict_max_conf, ours.post_threshold) == (0.9, 0.6, 0.95)


@pytest.mark.parametrize("mode", ["off", "released"])
def test_fixed_modes_refuse_numbers(mode: str):
    with pytest.raises(ValidationError, match=f"mode `{mode}` is fixed, leave out `gamma`, `fusion`"):
        PurifySettings(mode=mode, gamma=0.5, fusion="max")


@pytest.mark.parametrize("mode", ["off", "released"])
def test_fixed_modes_measure_no_trust(mode: str):
    with pytest.raises(ValidationError, match=f"mode `{mode}` is fixed, leave out `trust: measured`"):
        PurifySettings(mode=mode, trust="measured")
    assert PurifySettings(trust="measured").rules() == RULES["recommended"]


def test_unknown_and_impossible_values_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        PurifySettings(tau=0.5)
    with pytest.raises(ValidationError, match="less than 1"):
        PurifySettings(gamma=1.0)
