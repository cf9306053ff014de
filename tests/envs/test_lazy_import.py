import subprocess
import sys

import pytest

from jaxq.envs import lazy_import


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Two modules: `user` imports `provider`, which has `VALUE`."""
    (tmp_path / "lazy_provider.py").write_text("VALUE = 3\n")
    (tmp_path / "lazy_user.py").write_text(
        "import lazy_provider as p\n\ndef value():\n    return p.VALUE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("lazy_provider", "lazy_user"):
        sys.modules.pop(name, None)


def test_a_lazy_module_is_imported_on_first_use(modules):
    with lazy_import.lazy_imports(["lazy_provider"]):
        import lazy_user
    assert "lazy_provider" not in sys.modules
    assert lazy_user.value() == 3
    assert sys.modules["lazy_provider"].VALUE == 3


def test_later_imports_find_the_real_module(modules):
    with lazy_import.lazy_imports(["lazy_provider"]):
        import lazy_user
    import lazy_provider

    assert type(lazy_provider) is type(subprocess)
    assert lazy_user.p is not lazy_provider
    assert lazy_user.value() == lazy_provider.VALUE


def test_use_inside_the_context_imports_the_real_module(modules):
    with lazy_import.lazy_imports(["lazy_provider"]):
        import lazy_user

        assert lazy_user.value() == 3
    assert sys.modules["lazy_provider"].VALUE == 3


def test_imported_modules_are_left_alone():
    with lazy_import.lazy_imports(["subprocess"]):
        assert sys.modules["subprocess"] is subprocess
    assert sys.modules["subprocess"] is subprocess
