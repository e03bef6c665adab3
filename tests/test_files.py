"""The files of an SQLite store: what lies on a network is refused, new ones are for the database's users, no more."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import convo
from convo.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from convo.store import files
from convo.store.owners import Owner
from convo.store.writer_lock import WriterLock
from convo.testing import ScriptedClient
from tests.processes import run

NOBODY = 65534

HOST = r"""
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
24 28 0:6 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=8G
26 24 0:24 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw
28 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
40 28 8:3 / /people rw,relatime shared:20 - btrfs /dev/sda3 rw,subvol=/people
41 40 0:50 / /people/ann/team rw,relatime shared:21 master:3 - nfs4 files:/team rw,vers=4.2
42 41 8:4 / /people/ann/team/local rw,relatime - xfs /dev/sdb1 rw
43 28 0:51 /export /srv/my\040chats rw,relatime - cifs //nas/chats rw
44 28 0:52 / /srv/tab\011and\134040 rw,relatime - fuse.sshfs ann@host: rw
45 28 8:17 / /media/stick rw - fuseblk /dev/sdc1 rw
46 28 0:50 /data /srv/bound rw,relatime - nfs4 files:/team/data rw
47 28 8:2 /var/lib/chats /srv/ours rw,relatime - ext4 /dev/sda2 rw
48 28 0:60 / /mnt/c rw,noatime - 9p drvfs rw,trans=fd
49 28 0:61 / /mnt/fuse rw - fuse some rw
50 28 0:62 / /mnt/ntfs rw - fuse.ntfs-3g /dev/sdd1 rw
51 28 0:63 / /mnt/over rw - overlay overlay rw,lowerdir=/a:/b
60 28 0:70 / /hidden/deep rw - nfs files:/old rw
61 28 8:33 / /hidden rw - ext4 /dev/sde1 rw
62 28 0:71 / /twice rw - nfs files:/first rw
63 62 8:34 / /twice rw - ext4 /dev/sdf1 rw
64 28 8:35 / /reverse rw - ext4 /dev/sdg1 rw
65 64 0:72 / /reverse rw - smb3 //nas/reverse rw
66 28 0:73 / /odd"""
HOST = HOST.strip() + "\x0c\u2028point rw - ceph mon:/ rw\n"

CONTAINER = """
700 600 0:80 / / rw,relatime master:300 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
701 700 0:81 / /proc rw - proc proc rw
702 700 8:1 /volumes/chats /data rw - ext4 /dev/sda1 rw
703 700 0:82 /share /net rw - nfs files:/share rw
"""

IN_CHROOT = """
41 40 0:50 / /team rw - nfs4 files:/team rw
42 41 8:4 / /team/local rw - xfs /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/usr/chats.db", "ext4"),
        ("/people/bob/chats.db", "btrfs"),
        ("/people/ann/teammate/chats.db", "btrfs"),
        ("/people/ann/team/chats.db", "nfs4"),
        ("/people/ann/team/a/b/chats.db", "nfs4"),
        ("/people/ann/team/local/chats.db", "xfs"),
        ("/srv/my chats/chats.db", "cifs"),
        ("/srv/my/chats.db", "ext4"),
        ("/srv/tab\tand\\040/chats.db", "fuse.sshfs"),
        ("/media/stick/chats.db", "fuseblk"),
        ("/srv/bound/chats.db", "nfs4"),
        ("/srv/ours/chats.db", "ext4"),
        ("/mnt/c/Users/ann/chats.db", "9p"),
        ("/mnt/over/chats.db", "overlay"),
        ("/dev/shm/chats.db", "tmpfs"),
        ("/odd\x0c\u2028point/chats.db", "ceph"),
    ],
)
def test_the_file_system_is_the_one_that_is_mounted_deepest(path: str, kind: str):
    assert kind == files.kind_of_file_system(Path(path), HOST)


@pytest.mark.parametrize(
    ("path", "kind"), [("/hidden/deep/x.db", "ext4"), ("/twice/x.db", "ext4"), ("/reverse/x.db", "smb3")]
)
def test_a_later_mount_hides_what_was_there(path: str, kind: str):
    assert kind == files.kind_of_file_system(Path(path), HOST)


def test_the_order_of_the_lines_says_nothing():
    backwards = "\n".join(reversed(HOST.split("\n")))
    paths = [Path(f"{each}/x.db") for each in ("/dev/shm", "/people/ann/team/local", "/hidden/deep", "/twice", "/root")]
    assert ["tmpfs", "xfs", "ext4", "ext4", "ext4"] == [files.kind_of_file_system(each, backwards) for each in paths]


@pytest.mark.parametrize(("path", "kind"), [("/x.db", "overlay"), ("/data/x.db", "ext4"), ("/net/x.db", "nfs")])
def test_a_container_has_mounts_of_its_own(path: str, kind: str):
    assert kind == files.kind_of_file_system(Path(path), CONTAINER)


@pytest.mark.parametrize(("path", "kind"), [("/x.db", ""), ("/team/x.db", "nfs4"), ("/team/local/x.db", "xfs")])
def test_a_root_that_is_no_mount_is_not_told(path: str, kind: str):
    assert kind == files.kind_of_file_system(Path(path), IN_CHROOT)


@pytest.mark.parametrize("mounts", ["", "\n\n", "no mounts here", "1 2 3", "1 1 0:1 / / rw ext4 without a dash"])
def test_mounts_that_cannot_be_read_tell_nothing(mounts: str):
    assert "" == files.kind_of_file_system(Path("/x.db"), mounts)


def test_file_systems_of_networks_are_told_from_local_ones():
    network = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.s3fs", "fuse.unheard-of", "fuse"]
    local = ["ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "fuseblk", "fuse.ntfs-3g", "apfs", "nfsd", ""]
    assert network == [each for each in network + local if files.is_of_network(each)]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that the machine takes for a network's."""
    folder = tmp_path / "a team's"
    folder.mkdir()
    escaped = str(folder).replace(" ", r"\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"28 1 8:2 / / rw - ext4 /dev/sda2 rw\n41 28 0:50 / {escaped} rw - nfs4 files:/team rw\n")
    monkeypatch.setattr(files, "_MOUNTS", mounts)
    return folder


def by_url(path: Path) -> convo.Store:
    return convo.Store(f"sqlite:///{path}")


def by_uri(path: Path) -> convo.Store:
    return convo.Store(f"sqlite:///file:{path}?uri=true")


def by_engine(path: Path) -> convo.Store:
    return convo.Store(create_engine(f"sqlite:///{path}"))


ways = pytest.mark.parametrize("opened", [by_url, by_uri, by_engine])


@ways
def test_a_store_on_a_network_is_refused_before_anything_is_made(network: Path, opened: Callable):
    with pytest.raises(StoreUnavailable, match=r"network file system \(nfs4\).*: name a place on a local disk"):
        opened(network / "new" / "chats.db")
    assert [] == list(network.iterdir())


@ways
def test_a_link_into_a_network_is_refused(network: Path, tmp_path: Path, opened: Callable):
    (tmp_path / "link").symlink_to(network)
    (tmp_path / "chats.db").symlink_to(network / "chats.db")
    for path in (tmp_path / "link" / "chats.db", tmp_path / "chats.db"):
        with pytest.raises(StoreUnavailable, match="nfs4"):
            opened(path)
    assert [] == list(network.iterdir())


@ways
def test_a_link_out_of_a_network_is_followed(network: Path, tmp_path: Path, opened: Callable):
    (tmp_path / "disk").mkdir()
    (network / "link").symlink_to(tmp_path / "disk")
    opened(network / "link" / "chats.db").close()
    assert (tmp_path / "disk" / "chats.db").exists()


def test_a_machine_that_does_not_tell_its_mounts_opens_its_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_MOUNTS", tmp_path / "nowhere")
    by_url(tmp_path / "chats.db").close()
    assert (tmp_path / "chats.db").exists()


def test_this_machine_knows_its_temporary_folder(tmp_path: Path):
    kind = files.kind_of_file_system(tmp_path.resolve(), files._MOUNTS.read_text())
    assert (True, False) == (bool(kind), files.is_of_network(kind))


# ---- modes, users and groups


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder that every user can write, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def use(database: Path) -> None:
    """Have all files made that a store makes beside its database."""
    lock, owner = WriterLock(database), Owner(database)
    with lock.held(5), owner.attempt():
        pass
    lock.close()


def modes(database: Path) -> list[int]:
    """Return the modes of the two lock files, of the owners' folder and of the file in it."""
    owners = Path(f"{database}.owners")
    found = [Path(f"{database}.lock"), Path(f"{database}.lock.next"), owners, *owners.iterdir()]
    return [each.stat().st_mode & 0o7777 for each in found]


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o027])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, [0o600, 0o600, 0o700, 0o600]),
        (0o640, [0o640, 0o640, 0o750, 0o640]),
        (0o660, [0o660, 0o660, 0o770, 0o660]),
        (0o666, [0o666, 0o666, 0o777, 0o666]),
        (0o604, [0o604, 0o604, 0o705, 0o604]),
        (0o755, [0o644, 0o644, 0o755, 0o644]),
        (0o6660, [0o660, 0o660, 0o770, 0o660]),
    ],
)
def test_files_beside_a_database_are_for_its_users(tmp_path: Path, mode: int, expected: list[int], umask: int):
    database = tmp_path / "chats.db"
    database.touch()
    database.chmod(mode)
    before = os.umask(umask)
    use(database)
    os.umask(before)
    assert expected == modes(database)


def test_files_beside_a_database_have_its_user_and_group(shared: Path):
    database = shared / "chats.db"
    database.touch()
    os.chown(database, *((1234, 4321) if os.geteuid() == 0 else (-1, -1)))
    use(database)
    made = [Path(f"{database}{ending}").stat() for ending in ("", ".lock", ".lock.next", ".owners")]
    assert 1 == len({(each.st_uid, each.st_gid) for each in made})


AS_NOBODY = """
import os, sys
from pathlib import Path
import convo
import tests.test_files as here
from convo.testing import ScriptedClient
with convo.Store("sqlite://", client=ScriptedClient("answer")) as store:
    store.create(name="a").send("loads every module: nobody may not be able to read them")
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(here.NOBODY)
    os.seteuid(here.NOBODY)
"""

USE = AS_NOBODY + "here.use(Path(sys.argv[1])); print(here.modes(Path(sys.argv[1])))"

SEND = (
    AS_NOBODY
    + """
with convo.Store("sqlite:///" + sys.argv[1], client=ScriptedClient("answer")) as store:
    print(store.get("a").send("more").text)
"""
)


def test_another_user_makes_files_for_all_who_may_write(shared: Path):
    database = shared / "chats.db"
    database.touch()
    database.chmod(0o666)
    said = run("-c", USE, str(database))
    use(database)
    assert (f"{[0o666, 0o666, 0o777, 0o666]}\n", "") == (said.stdout, said.stderr)


def test_a_user_whom_the_database_lets_write_takes_turns_beside_its_owner(shared: Path):
    with by_url(shared / "chats.db") as store:
        store.create(name="a")
        (shared / "chats.db").chmod(0o666)
    for ending in (".lock", ".lock.next"):
        (shared / f"chats.db{ending}").unlink()
    with by_url(shared / "chats.db") as store:
        store.client = ScriptedClient("answer")
        store.get("a").send("one")
        said = run("-c", SEND, str(shared / "chats.db"))
        assert ("answer\n", "", 2) == (said.stdout, said.stderr, len(store.get("a").turns()))


# ---- no room


class Room:
    """What statvfs tells of a disk."""

    def __init__(self, left: int) -> None:
        self.f_bavail, self.f_frsize = left // 4096, 4096


@pytest.mark.parametrize(("left", "expected"), [(0, True), (2**20 - 4096, True), (2**20, False), (2**40, False)])
def test_a_disk_without_room_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, expected: bool):
    monkeypatch.setattr(os, "statvfs", lambda _: Room(left))
    assert expected is files.is_full(tmp_path / "chats.db")


@pytest.mark.parametrize(
    ("size", "log", "limit", "expected"),
    [
        (0, 0, resource.RLIM_INFINITY, False),
        (0, 0, 2**20, False),
        (2**21, 0, 2**22, False),
        (2**22, 0, 2**22, True),
        (0, 2**22, 2**22, True),
        (2**22, 2**22, 2**24, False),
    ],
)
def test_files_as_large_as_they_may_be_are_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, log: int, limit: int, expected: bool
):
    for ending, length in (("", size), ("-wal", log)):
        (tmp_path / f"chats.db{ending}").touch()
        os.truncate(tmp_path / f"chats.db{ending}", length)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert expected is files.is_full(tmp_path / "chats.db")


def test_whether_a_folder_that_is_gone_is_full_is_not_known(tmp_path: Path):
    assert files.is_full(tmp_path / "gone" / "chats.db") is False


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EACCES, StoreReadOnly),
        (errno.EROFS, StoreReadOnly),
        (errno.EMFILE, StoreUnavailable),
        (errno.ENOTDIR, StoreUnavailable),
    ],
)
def test_the_error_tells_why_a_file_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[StoreError]
):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StoreError) as failed:
        files.open_beside(tmp_path / "chats.db.lock", tmp_path / "chats.db")
    assert (expected, True) == (type(failed.value), os.strerror(number) in str(failed.value))


def test_a_file_in_the_place_of_the_owners_folder_is_told(tmp_path: Path):
    (tmp_path / "chats.db.owners").touch()
    with pytest.raises(StoreUnavailable, match=r"chats\.db\.owners.*: "), Owner(tmp_path / "chats.db").attempt():
        pass


# ---- files that are taken away


@pytest.mark.parametrize("endings", [(".lock",), (".lock.next",), (".lock", ".lock.next")])
def test_writers_exclude_each_other_after_somebody_took_the_lock_away(tmp_path: Path, endings: tuple[str, ...]):
    first, second = WriterLock(tmp_path / "chats.db"), WriterLock(tmp_path / "chats.db")
    with first.held(5):
        pass
    for ending in endings:
        (tmp_path / f"chats.db{ending}").unlink()
    with second.held(5), pytest.raises(convo.StoreBusy), first.held(0.01):
        pass
    first.close()
    second.close()


def test_a_lock_that_cannot_be_made_leaves_no_file_open(tmp_path: Path):
    (tmp_path / "chats.db.lock").mkdir()
    lock = WriterLock(tmp_path / "chats.db")
    before = open_files()
    for _ in range(5):
        with pytest.raises(StoreUnavailable), lock.held(5):
            pass
    lock.close()
    assert before == open_files()


def open_files() -> list[str]:
    return [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()]
