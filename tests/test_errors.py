import inspect
import pickle

import pytest

from geosemi import errors
from geosemi.errors import ConfigError, DatasetMissing, Faults, GeosemiError, InputError, Interrupted

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GeosemiError)]

# what shell scripts rely on
EXIT_CODES = {
    "GeosemiError": 1,
    "ConfigError": 2,
    "InputError": 3,
    "OutputError": 4,
    "ResourceError": 5,
    "UnsafeInput": 7,
    "Interrupted": 130,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_cause_a_way_out_and_a_code(kind: type[GeosemiError]):
    error = kind("`a.tif` is broken", hint="copy it again")
    assert (str(error), error.message, error.hint) == ("`a.tif` is broken", "`a.tif` is broken", "copy it again")
    named = next(parent for parent in kind.__mro__ if parent.__name__ in EXIT_CODES)
    assert error.exit_code == EXIT_CODES[named.__name__]
    assert kind.__doc__
    with pytest.raises(TypeError, match="hint"):
        kind("no way out")


def test_the_codes_are_those_of_known_kinds():
    assert set(EXIT_CODES) <= {kind.__name__ for kind in KINDS}
    assert len({EXIT_CODES[name] for name in EXIT_CODES}) == len(EXIT_CODES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_crosses_processes(kind: type[GeosemiError]):
    """Loader workers hand their errors to the main process by pickle; there it must be the same error."""
    error = pickle.loads(pickle.dumps(kind("`a.tif` is broken", hint="copy it again")))
    assert type(error) is kind
    assert (error.message, error.hint) == ("`a.tif` is broken", "copy it again")


class TestFaults:
    def of(self, *errors: GeosemiError, settings: tuple[str, ...] = ()) -> GeosemiError:
        faults = Faults()
        for line in settings:
            faults.add_setting(line)
        for error in errors:
            with faults.kept():
                raise error
        assert faults
        with pytest.raises(GeosemiError) as caught:
            faults.raise_all("the run", hint="mend it")
        return caught.value

    def test_nothing_is_no_error(self):
        faults = Faults()
        with faults.kept():
            pass
        assert not faults
        faults.raise_all("the run")

    def test_one_stays_as_it_is(self):
        error = DatasetMissing("`a` is missing", hint="get it")
        assert self.of(error) is error

    def test_several_have_a_line_and_a_way_out_each(self):
        error = self.of(
            InputError("`a` is broken", hint="copy it", faults=["row 1", "row 2"]),
            DatasetMissing("`b` is missing", hint="get it"),
            settings=("train.lr: too high",),
        )
        assert error.lines == (
            "the run: 3 problems",
            "train.lr: too high",
            "`a` is broken: row 1, row 2; copy it",
            "`b` is missing; get it",
        )
        assert (type(error), error.hint) == (ConfigError, "mend it")

    def test_several_of_a_kind_are_of_that_kind(self):
        one, two = DatasetMissing("`a` is missing", hint="get it"), DatasetMissing("`b` is missing", hint="get it")
        assert type(self.of(one, two)) is DatasetMissing

    def test_a_setting_is_a_problem_of_the_config(self):
        assert self.of(settings=("train.lr: too high",)).lines == ("the run: 1 problem", "train.lr: too high")

    def test_who_asks_to_stop_is_not_made_to_wait(self):
        faults = Faults()
        with pytest.raises(Interrupted), faults.kept():
            raise Interrupted("stopped", hint="go on")
        assert not faults
