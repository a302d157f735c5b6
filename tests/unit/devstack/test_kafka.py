import uuid

import pytest

from devstack.kafka import _cluster_id


def test_no_cluster_id_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter([uuid.UUID(int=0xF8 << 120), uuid.UUID(int=1)])
    monkeypatch.setattr("devstack.kafka.uuid.uuid4", lambda: next(ids))
    assert not _cluster_id().startswith("-")
    assert next(ids, None) is None
