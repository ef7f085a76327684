import hashlib
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from seikyu.errors import ConfigurationError, InvalidArguments, StoreDamaged
from seikyu.spec import StoredFile
from seikyu.store.files import DocumentStore

PDF = b"%PDF-1.7 paper"
PNG = b"\x89PNG\r\n\x1a\n picture"
JPEG = b"\xff\xd8\xff\xe0 photo"
PDF_SHA256 = hashlib.sha256(PDF).hexdigest()
CAP = 1024


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "state" / "documents"


@pytest.fixture
def store(kept: Path, inbox: Path) -> DocumentStore:
    return DocumentStore(kept, [inbox], CAP)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    "name,content",
    [("請求書.pdf", PDF), ("A.PDF", PDF), ("a.png", PNG), ("a.jpg", JPEG), ("a.jpeg", JPEG), ("-a.pdf", PDF)],
)
def test_a_document_is_taken_under_the_hash_of_its_content(
    store: DocumentStore, inbox: Path, kept: Path, name: str, content: bytes
) -> None:
    (inbox / name).write_bytes(content)

    taken = store.take(str(inbox / name))

    sha256 = hashlib.sha256(content).hexdigest()
    assert taken == StoredFile(name, len(content), sha256)
    assert (kept / sha256).read_bytes() == content
    assert stat.S_IMODE((kept / sha256).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


def test_a_relative_path_starts_at_the_first_folder(store: DocumentStore, inbox: Path) -> None:
    (inbox / "11月").mkdir()
    (inbox / "11月" / "a.pdf").write_bytes(PDF)

    assert store.take("11月/a.pdf").sha256 == PDF_SHA256
    assert store.take("./11月//a.pdf").sha256 == PDF_SHA256


def test_a_second_folder_is_reached_by_its_absolute_path(kept: Path, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.pdf").write_bytes(PDF)
    store = DocumentStore(kept, [inbox, tmp_path / "scans"], CAP)

    assert store.take(str(tmp_path / "scans" / "a.pdf")).sha256 == PDF_SHA256
    with pytest.raises(InvalidArguments):
        store.take("a.pdf")


def test_a_folder_may_be_configured_through_a_link(kept: Path, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(inbox)
    (inbox / "a.pdf").write_bytes(PDF)
    store = DocumentStore(kept, [tmp_path / "link"], CAP)

    assert store.take(str(tmp_path / "link" / "a.pdf")).sha256 == PDF_SHA256
    assert store.take(str(inbox / "a.pdf")).sha256 == PDF_SHA256


def test_the_same_content_is_kept_once(store: DocumentStore, inbox: Path, kept: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        (inbox / name).write_bytes(PDF)
        store.take(name)

    assert names(kept) == [PDF_SHA256]


# what is not taken


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "-a.pdf",
        "--help",
        "a.pdf\0",
        "\ud800.pdf",
        "~/a.pdf",
        "../secret.pdf",
        "x/../../secret.pdf",
        "missing.pdf",
        "/etc/passwd",
        "file:///etc/passwd",
        "a.pdf/",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(store: DocumentStore, tmp_path: Path, kept: Path, path: str) -> None:
    (tmp_path / "secret.pdf").write_bytes(PDF)

    with pytest.raises(InvalidArguments) as refused:
        store.take(path)

    assert str(tmp_path / "inbox") in refused.value.next_step.ja
    assert names(kept) == []


def test_a_sibling_with_the_same_prefix_is_outside(store: DocumentStore, tmp_path: Path) -> None:
    (tmp_path / "inbox-secret").mkdir()
    (tmp_path / "inbox-secret" / "a.pdf").write_bytes(PDF)

    with pytest.raises(InvalidArguments, match="not a file inside"):
        store.take(str(tmp_path / "inbox-secret" / "a.pdf"))


def test_a_link_is_not_followed(store: DocumentStore, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.pdf").write_bytes(PDF)
    (inbox / "a.pdf").symlink_to(tmp_path / "secret.pdf")

    with pytest.raises(InvalidArguments, match="plain file"):
        store.take("a.pdf")


def test_a_link_on_the_way_is_not_followed(store: DocumentStore, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.pdf").write_bytes(PDF)
    (inbox / "month").symlink_to(tmp_path / "secrets")

    with pytest.raises(InvalidArguments, match="plain file"):
        store.take("month/a.pdf")


def test_a_folder_swapped_for_a_link_again_and_again_never_gives_the_secret(
    store: DocumentStore, inbox: Path, tmp_path: Path
) -> None:
    secret, paper = PDF + b" secret", PDF
    for folder, content in ((tmp_path / "secrets", secret), (inbox / "real", paper)):
        folder.mkdir()
        (folder / "a.pdf").write_bytes(content)
    (inbox / "link").symlink_to(tmp_path / "secrets")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in ("real", "link"):
                (inbox / target).rename(inbox / "month")
                (inbox / "month").rename(inbox / target)

    swapper = threading.Thread(target=swap)
    swapper.start()
    taken = {_sha256_or_none(store, "month/a.pdf") for _ in range(500)}
    stop.set()
    swapper.join()

    assert hashlib.sha256(secret).hexdigest() not in taken


def test_a_second_name_of_a_file_is_not_taken(store: DocumentStore, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.pdf").write_bytes(PDF)
    (inbox / "a.pdf").hardlink_to(tmp_path / "secret.pdf")

    with pytest.raises(InvalidArguments, match="plain file"):
        store.take("a.pdf")


def test_a_pipe_does_not_make_us_wait(store: DocumentStore, inbox: Path) -> None:
    os.mkfifo(inbox / "a.pdf")

    with pytest.raises(InvalidArguments, match="plain file"):
        store.take("a.pdf")


def test_a_socket_and_a_folder_are_no_documents(
    store: DocumentStore, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inbox)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("a.pdf")
        (inbox / "b.pdf").mkdir()

        for name in ("a.pdf", "b.pdf"):
            with pytest.raises(InvalidArguments, match="plain file"):
                store.take(name)


def test_our_own_folders_are_never_taken_from(kept: Path, tmp_path: Path) -> None:
    kept.mkdir(parents=True)
    (kept.parent / "backup.pdf").write_bytes(PDF)
    (kept / "a.pdf").write_bytes(PDF)
    store = DocumentStore(kept, [tmp_path], CAP, keep_out=[kept.parent])

    for path in ("state/backup.pdf", "state/documents/a.pdf"):
        with pytest.raises(InvalidArguments, match="not a file inside"):
            store.take(path)


def test_an_inbox_inside_our_own_folder_is_reached_although_a_wider_folder_is_allowed(
    kept: Path, tmp_path: Path
) -> None:
    inbox = kept.parent / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "a.pdf").write_bytes(PDF)
    store = DocumentStore(kept, [tmp_path, inbox], CAP, keep_out=[kept.parent])

    assert store.take(str(inbox / "a.pdf")).sha256 == PDF_SHA256


def test_a_document_may_be_as_large_as_the_cap_and_no_larger(store: DocumentStore, inbox: Path) -> None:
    (inbox / "a.pdf").write_bytes(PDF.ljust(CAP))
    (inbox / "b.pdf").write_bytes(PDF.ljust(CAP + 1))

    assert store.take("a.pdf").size == CAP
    with pytest.raises(InvalidArguments, match="larger than 1,024 bytes"):
        store.take("b.pdf")


@pytest.mark.parametrize(
    "name,content",
    [
        ("a.pdf", PNG),
        ("a.pdf", b"GIF89a" + PDF),
        ("a.pdf", b""),
        ("a.png", PDF),
        ("a.jpg", b"<script>"),
        ("a.csv", b"1,2"),
        ("a", PDF),
        ("pdf", PDF),
        (".pdf", PDF),
    ],
)
def test_a_document_is_what_its_extension_says(
    store: DocumentStore, inbox: Path, kept: Path, name: str, content: bytes
) -> None:
    (inbox / name).write_bytes(content)

    with pytest.raises(InvalidArguments, match="extension"):
        store.take(name)
    assert names(kept) == []


def test_without_a_folder_nothing_is_taken(kept: Path) -> None:
    with pytest.raises(InvalidArguments, match="not a file inside") as refused:
        DocumentStore(kept, [], CAP).take("/etc/passwd")

    assert "No folder is allowed yet" in refused.value.next_step.en


def test_a_folder_of_ours_that_cannot_be_written_is_a_fault_of_the_configuration(inbox: Path, tmp_path: Path) -> None:
    (inbox / "a.pdf").write_bytes(PDF)
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot be written"):
        DocumentStore(tmp_path / "file" / "documents", [inbox], CAP).take("a.pdf")


# what is kept


@pytest.fixture
def paper(store: DocumentStore, inbox: Path) -> str:
    """The hash of a document in keeping."""
    (inbox / "a.pdf").write_bytes(PDF)
    return store.take("a.pdf").sha256


def test_a_kept_document_outlives_its_source(store: DocumentStore, inbox: Path, paper: str) -> None:
    (inbox / "a.pdf").write_bytes(b"forged")

    with store.open(paper) as content:
        assert content.read() == PDF


@pytest.mark.parametrize("content", [PDF + b"x", PDF[:-1], b"X" * len(PDF), b""])
def test_a_kept_document_that_changed_is_not_handed_out(
    store: DocumentStore, kept: Path, paper: str, content: bytes
) -> None:
    (kept / paper).write_bytes(content)

    with pytest.raises(StoreDamaged):
        store.open(paper)


def test_taking_a_document_again_heals_a_damaged_copy(store: DocumentStore, kept: Path, paper: str) -> None:
    (kept / paper).write_bytes(b"damaged")

    store.take("a.pdf")

    assert (kept / paper).read_bytes() == PDF


@pytest.mark.parametrize("sha256", ["0" * 64, "", "../a.pdf", "A" * 64, "0" * 63 + "\n"])
def test_a_document_that_is_not_kept_is_damage(store: DocumentStore, paper: str, sha256: str) -> None:
    assert sha256 != paper

    with pytest.raises(StoreDamaged):
        store.open(sha256)


def test_a_link_in_our_own_folder_is_not_followed(store: DocumentStore, kept: Path, paper: str) -> None:
    (kept / paper).rename(kept / "moved")
    (kept / paper).symlink_to(kept / "moved")

    with pytest.raises(StoreDamaged):
        store.open(paper)


def test_a_forgotten_document_is_gone(store: DocumentStore, kept: Path, paper: str) -> None:
    for sha256 in (paper, paper, "../inbox/a.pdf"):
        store.forget(sha256)

    assert names(kept) == []
    with pytest.raises(StoreDamaged):
        store.open(paper)


def _sha256_or_none(store: DocumentStore, path: str) -> str | None:
    try:
        return store.take(path).sha256
    except InvalidArguments:
        return None
