"""The journal: what is written is read again, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.gpu.journal import Held, Journal, JournalError, Kind, Owner, claim, drop, is_claimed, journals, read, save, state_directory

UUID = "GPU-1"
VALUES = st.none() | st.integers() | st.text(max_size=10)
HELD = st.builds(Held, st.sampled_from(get_args(Kind)), VALUES, VALUES)
OWNERS = st.builds(Owner, st.integers(1, 2**22), st.floats(0, 2e9), st.text(max_size=20))
JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda leaves: st.lists(leaves) | st.dictionaries(st.text(), leaves), max_leaves=8
)


@given(st.builds(Journal, st.just(UUID), st.integers(0, 15), st.text(max_size=20), OWNERS, st.lists(HELD, max_size=5).map(tuple)))
def test_what_is_written_is_read(journal: Journal) -> None:
    assert Journal.from_json(json.loads(json.dumps(journal.to_json()))) == journal


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def test_saved_found_and_dropped(directory: Path) -> None:
    journal = Journal(UUID, 0, "A GPU", Owner.this_process(), (Held("sm_clock_mhz", 1410, None),))
    save(journal, directory)
    assert (read(UUID, directory), journals(directory)) == (journal, [journal])
    assert journal.owner.is_this_process
    drop(UUID, directory)
    assert (read(UUID, directory), journals(directory)) == (None, [])
    drop(UUID, directory)


@given(tree=JSON)
def test_anything_else_is_a_journal_error(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    directory = tmp_path_factory.mktemp("journal")
    (directory / f"{UUID}.json").write_text(json.dumps(tree))
    with pytest.raises(JournalError, match="restore the GPU's settings with nvidia-smi"):
        read(UUID, directory)


def test_a_setting_of_another_version_is_not_guessed_at(directory: Path) -> None:
    journal = Journal(UUID, 0, "A GPU", Owner(1, 0.0, ""), (Held("sm_clock_mhz", 1, None),))
    (directory / f"{UUID}.json").write_text(json.dumps(journal.to_json()).replace("sm_clock_mhz", "fan_speed"))
    with pytest.raises(JournalError, match="fan_speed"):
        read(UUID, directory)


def test_a_name_that_is_no_uuid_becomes_no_path(directory: Path) -> None:
    with pytest.raises(JournalError, match="is not the UUID of a GPU"):
        read("../../etc/passwd", directory)


def test_a_claim_is_one_holders(directory: Path) -> None:
    with claim(UUID, directory):
        assert is_claimed(UUID, directory)
        assert not is_claimed("GPU-2", directory)
    assert not is_claimed(UUID, directory)


def test_the_state_directory_is_xdgs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "trtbench" / "gpu"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory() == Path.home() / ".local" / "state" / "trtbench" / "gpu"


def test_a_user_without_a_home_gets_the_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker run --user 4711` where the image has no such user and sets no HOME."""
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it gives for a user id that /etc/passwd does not have
    with pytest.raises(JournalError, match="set XDG_STATE_HOME"):
        state_directory()
