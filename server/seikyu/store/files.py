"""Documents in our own keeping: taken once from the allowed folders, kept under the hash of their content.

What is approved is a hash; what is sent is read from here, so nobody can change a document in between.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Final

from seikyu.errors import ConfigurationError, InvalidArguments, StoreDamaged, Text
from seikyu.models import shown
from seikyu.spec import StoredFile

_CHUNK: Final = 256 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAGIC: Final = {
    ".pdf": b"%PDF-",
    ".png": b"\x89PNG\r\n\x1a\n",
    ".jpg": b"\xff\xd8\xff",
    ".jpeg": b"\xff\xd8\xff",
}
"""First bytes, at offset 0: a PDF inside a picture is neither."""
_MAGIC_LENGTH: Final = 8
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: opening a FIFO must not wait for its writer."""
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Root:
    """An allowed folder as it was configured, and where it really lies."""

    named: Path
    real: Path


@dataclass(frozen=True, slots=True)
class _Draft:
    """A file of ours that has no name yet by which it could be found."""

    descriptor: int
    path: Path


@dataclass(frozen=True, slots=True)
class _Copied:
    size: int
    sha256: str
    head: bytes


class DocumentStore:
    """Keeps documents in `folder` (0700, files 0600); takes them from `roots` only, up to `cap_bytes` each.

    `keep_out` are folders of ours from which nothing is ever taken, even when they lie under a root; `folder`
    is always one. Implements `spec.Inbox`; `open` is a `spec.OpenFile`. All methods block on the disk.
    """

    def __init__(self, folder: Path, roots: Sequence[Path], cap_bytes: int, *, keep_out: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._roots = tuple(_Root(root.absolute(), root.resolve()) for root in roots)
        self._cap_bytes = cap_bytes
        self._keep_out = (folder, *keep_out)

    def take(self, path: str) -> StoredFile:
        """Copy the file at `path` into our keeping; a relative path starts at the first root.

        Raises:
            InvalidArguments: see `spec.Inbox`.
            ConfigurationError: our own folder cannot be written.
        """
        root, parts = self._locate(path)
        with self._open_source(root, parts, path) as source, self._draft() as draft:
            before = os.fstat(source)
            self._check_plain(before, path)
            copied = self._copy(source, draft, path)
            self._check_whole(before, os.fstat(source), copied, path)
            _check_kind(parts[-1], copied)
            self._keep(draft, copied.sha256)
        return StoredFile(name=parts[-1], size=copied.size, sha256=copied.sha256)

    def open(self, sha256: str) -> BinaryIO:
        """The kept document, its content verified just now, at its first byte. The caller closes it.

        Raises:
            StoreDamaged: not there, or its content is not what its name says.
        """
        if not _SHA256.fullmatch(sha256):
            raise _damaged(sha256)
        try:
            content = os.fdopen(os.open(self._folder / sha256, _FILE), "rb")
            if hashlib.file_digest(content, "sha256").hexdigest() == sha256:
                content.seek(0)
                return content
            content.close()
        except OSError as error:
            raise _damaged(sha256) from error
        raise _damaged(sha256)

    def forget(self, sha256: str) -> None:
        """Delete the kept document, if it is there."""
        if _SHA256.fullmatch(sha256):
            (self._folder / sha256).unlink(missing_ok=True)

    def _locate(self, path: str) -> tuple[_Root, tuple[str, ...]]:
        asked = PurePath(path)
        is_odd = not path or path.startswith("-") or "\0" in path or not _is_text(path)
        if is_odd or ".." in asked.parts or not self._roots:
            raise self._outside(path)
        if not asked.is_absolute():
            return self._roots[0], asked.parts or (".",)
        bases = [(base, root) for root in self._roots for base in (root.named, root.real)]
        holding = [(base, root) for base, root in bases if asked != base and asked.is_relative_to(base)]
        if not holding:
            raise self._outside(path)
        base, root = max(holding, key=lambda pair: len(pair[0].parts))  # an inbox inside another root is itself
        return root, asked.relative_to(base).parts

    @contextmanager
    def _open_source(self, root: _Root, parts: tuple[str, ...], path: str) -> Generator[int]:
        """Walk from the root component by component, so that no symlink on the way is ever followed."""
        opened: list[int] = []
        try:
            try:
                opened.append(os.open(root.real, _FOLDER))
                for name in parts[:-1]:
                    opened.append(os.open(name, _FOLDER, dir_fd=opened[-1]))
                self._check_not_ours(opened, path)
                opened.append(os.open(parts[-1], _FILE, dir_fd=opened[-1]))
            except OSError as error:
                raise self._unreadable(path) from error
            yield opened[-1]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _check_not_ours(self, folders: Sequence[int], path: str) -> None:
        ours = {(there.st_dev, there.st_ino) for there in map(_stat_or_none, self._keep_out) if there}
        passed = {(here.st_dev, here.st_ino) for here in map(os.fstat, folders)}
        if ours & passed:
            raise self._outside(path)

    def _check_plain(self, found: os.stat_result, path: str) -> None:
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:  # a second name may lead anywhere
            raise self._unreadable(path)
        if found.st_size > self._cap_bytes:
            raise self._too_large(path)

    def _copy(self, source: int, draft: _Draft, path: str) -> _Copied:
        digest, size, head = hashlib.sha256(), 0, b""
        while chunk := os.read(source, _CHUNK):
            digest.update(chunk)
            size += len(chunk)
            head = head or chunk[:_MAGIC_LENGTH]
            if size > self._cap_bytes:  # it grows while we read
                raise self._too_large(path)
            self._write(draft, chunk)
        return _Copied(size, digest.hexdigest(), head)

    def _check_whole(self, before: os.stat_result, after: os.stat_result, copied: _Copied, path: str) -> None:
        is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not is_same or copied.size != before.st_size:
            raise InvalidArguments(
                Text(
                    f"「{shown(path, 120)}」は読み取り中に変更されました。",
                    f'"{shown(path, 120)}" changed while it was read.',
                ),
                Text("書き込みが終わってからもう一度お試しください。", "Try again once it is complete."),
            )

    @contextmanager
    def _draft(self) -> Generator[_Draft]:
        """A new file of ours, deleted in the end unless `_keep` gave it its name."""
        path = self._folder / f".{secrets.token_hex(8)}.draft"
        with self._our_disk():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            descriptor = os.open(path, _NEW, 0o600)
        try:
            yield _Draft(descriptor, path)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def _write(self, draft: _Draft, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with self._our_disk():
            while rest:
                rest = rest[os.write(draft.descriptor, rest) :]

    def _keep(self, draft: _Draft, sha256: str) -> None:
        """Name the draft after its content. A damaged copy of the same name is healed by this."""
        with self._our_disk():
            os.fsync(draft.descriptor)
            draft.path.replace(self._folder / sha256)
            folder = os.open(self._folder, _FOLDER)
            try:
                os.fsync(folder)  # the name itself must outlive a power cut
            finally:
                os.close(folder)

    @contextmanager
    def _our_disk(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                Text(
                    f"書類の保管フォルダ {self._folder} に書き込めません({error.strerror})。",
                    f"The folder for documents, {self._folder}, cannot be written ({error.strerror}).",
                ),
                Text("空き容量と権限を確認してください。", "Check its free space and its permissions."),
            ) from error

    def _outside(self, path: str) -> InvalidArguments:
        return InvalidArguments(
            Text(
                f"「{shown(path, 120)}」は許可されたフォルダの中のファイルではありません。",
                f'"{shown(path, 120)}" is not a file inside an allowed folder.',
            ),
            self._where(),
        )

    def _unreadable(self, path: str) -> InvalidArguments:
        return InvalidArguments(
            Text(
                f"「{shown(path, 120)}」は見つからないか、普通のファイルではありません"
                "(リンク・パイプ・別名は受け取りません)。",
                f'"{shown(path, 120)}" was not found or is not a plain file'
                " (links, pipes and second names are not taken).",
            ),
            self._where(),
        )

    def _too_large(self, path: str) -> InvalidArguments:
        return InvalidArguments(
            Text(
                f"「{shown(path, 120)}」は上限の{self._cap_bytes:,}バイトを超えています。",
                f'"{shown(path, 120)}" is larger than {self._cap_bytes:,} bytes.',
            ),
            Text("小さくしてからもう一度お試しください。", "Make it smaller and try again."),
        )

    def _where(self) -> Text:
        folders = ", ".join(str(root.named) for root in self._roots)
        if not folders:
            return Text(
                "受け取りフォルダが設定されていません。管理者に依頼してください。",
                "No folder is allowed yet; ask whoever runs this server to set one.",
            )
        return Text(
            f"許可されたフォルダに置いてください: {folders}",
            f"Put the file into an allowed folder: {folders}",
        )


def _check_kind(name: str, copied: _Copied) -> None:
    magic = _MAGIC.get(PurePath(name).suffix.lower())
    if magic is not None and copied.head.startswith(magic):
        return
    raise InvalidArguments(
        Text(
            f"「{shown(name, 120)}」の中身は拡張子の示す種類ではないか、受け取れない種類です。",
            f'"{shown(name, 120)}" is not what its extension says, or of a kind that is not taken.',
        ),
        Text(
            "PDF、PNG、JPEG のファイルを正しい拡張子で渡してください。",
            "Pass a PDF, PNG or JPEG file with its own extension.",
        ),
    )


def _is_text(path: str) -> bool:
    with suppress(UnicodeEncodeError):
        path.encode("utf-8")
        return True
    return False


def _stat_or_none(folder: Path) -> os.stat_result | None:
    try:
        return folder.stat()
    except OSError:  # not there yet
        return None


def _damaged(sha256: str) -> StoreDamaged:
    return StoreDamaged(
        Text(
            f"保管した書類 {shown(sha256, 12)} が失われたか、変わっています。",
            f"The kept document {shown(sha256, 12)} is gone or has changed.",
        ),
        Text(
            "この申請は取り下げ、書類をもう一度渡して申請し直してください。",
            "Withdraw this action, then propose it again with the document.",
        ),
    )
