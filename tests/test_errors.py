import inspect
import pickle

import pytest

from geosemi import errors
from geosemi.errors import GeosemiError

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
