"""Files of all kinds as octets, made as small as they may be: archives, documents with macros, disk images."""

from __future__ import annotations

import base64
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def compound(streams: dict[str, bytes], clsid: bytes = bytes(16)) -> bytes:
    """A compound file: paths with / between storages and stream."""
    rows: list[tuple[str, int, int, int, list[int], bytes]] = [("Root Entry", 5, END, 0, [], clsid)]
    places: dict[str, int] = {"": 0}
    sectors: list[bytes] = []
    fat: list[int] = []

    def put(data: bytes) -> int:
        if not data:
            return END
        first = len(sectors)
        pieces = [data[at : at + 512].ljust(512, b"\0") for at in range(0, len(data), 512)]
        sectors.extend(pieces)
        fat.extend([*range(first + 1, first + len(pieces)), END])
        return first

    small: list[int] = []
    little = b""

    def put_small(data: bytes) -> int:
        nonlocal little
        if not data:
            return END
        first, count = len(small), -(-len(data) // 64)
        small.extend([*range(first + 1, first + count), END])
        little += data.ljust(count * 64, b"\0")
        return first

    for path, data in streams.items():
        *storages, name = path.split("/")
        parent = ""
        for storage in storages:
            inner = f"{parent}{storage}/"
            if inner not in places:
                places[inner] = len(rows)
                rows[places[parent]][4].append(len(rows))
                rows.append((storage, 1, END, 0, [], bytes(16)))
            parent = inner
        rows[places[parent]][4].append(len(rows))
        rows.append((name, 2, (put if len(data) >= 4096 else put_small)(data), len(data), [], bytes(16)))
    rows[0] = ("Root Entry", 5, put(little), len(little), rows[0][4], clsid)
    small_at = put(struct.pack(f"<{len(small)}I", *small))

    right = [FREE] * len(rows)
    child = [FREE] * len(rows)
    for index, row in enumerate(rows):
        if row[4]:
            child[index] = row[4][0]
            for one, following in zip(row[4], row[4][1:], strict=False):
                right[one] = following
    directory = b"".join(
        name.encode("utf-16-le").ljust(64, b"\0")
        + struct.pack("<HBBIII", 2 * len(name) + 2, kind, 1, FREE, right[index], child[index])
        + owner
        + bytes(20)
        + struct.pack("<IQ", start, size)
        for index, (name, kind, start, size, _, owner) in enumerate(rows)
    )
    directory_at = put(directory.ljust(-(-len(directory) // 512) * 512, b"\0"))
    tables = 1
    while tables * 128 < len(fat) + tables:
        tables += 1
    table_at = len(sectors)
    numbers = [*fat, *[FAT] * tables]
    numbers += [FREE] * (tables * 128 - len(numbers))
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, tables, directory_at, 0, 4096, small_at, -(-len(small) // 128), END, 0)
    header += struct.pack("<109I", *[table_at + n if n < tables else FREE for n in range(109)])
    return header + b"".join(sectors) + struct.pack(f"<{len(numbers)}I", *numbers)


def compressed(source: bytes) -> bytes:
    """MS-OVBA compression with letters only, which is one of the ways to do it."""
    out = b"\x01"
    for at in range(0, len(source), 3600):
        piece = source[at : at + 3600]
        data = b"".join(b"\0" + piece[n : n + 8] for n in range(0, len(piece), 8))
        out += struct.pack("<H", 0xB000 | len(data) - 1) + data
    return out


def module(code: str) -> bytes:
    """A module's stream: compiled code, and behind it the source."""
    return b"compiled" * 10 + compressed(b'Attribute VB_Name = "M"\r\n' + code.encode())


def project(code: str, where: str = "VBA") -> dict[str, bytes]:
    return {
        f"{where}/dir": compressed(b"directory"),
        f"{where}/_VBA_PROJECT": b"\xcc\x61",
        f"{where}/M": module(code),
    }


OPENS = 'Sub AutoOpen()\r\n  CreateObject("WScript.Shell").Run "cmd"\r\nEnd Sub\r\n'
WAITS = "Sub Sum()\r\n  x = 1\r\nEnd Sub\r\n"
NORMAL_XML = b'<w:document xmlns:w="w"><w:p><w:t>hello</w:t></w:p></w:document>'


def doc(code: str) -> bytes:
    return compound({"WordDocument": b"\xec\xa5" + bytes(5000), **project(code, "Macros/VBA")})


def docx(more: dict[str, bytes] | None = None) -> bytes:
    return zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": NORMAL_XML, **(more or {})})


def docm(code: str) -> bytes:
    return docx({"word/vbaProject.bin": compound(project(code))})


def relationship(kind: str, target: str) -> dict[str, bytes]:
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    text = f'<Relationships><Relationship Id="r1" Type="{base}/{kind}" Target="{target}" TargetMode="External"/></Relationships>'
    return {"word/_rels/settings.xml.rels": text.encode()}


def record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def xls(*, macro_sheet: bool = False, automatic: bool = False, locked: bool = False, version: int = 8) -> bytes:
    book = record(0x0809, struct.pack("<H", 0x0500 if version == 5 else 0x0600) + bytes(14))
    book += record(0x002F, bytes(6)) if locked else b""
    book += record(0x0085, bytes(4) + b"\0" + (b"\x01" if macro_sheet else b"\0") + b"\x02\0M1")
    book += (
        record(0x0018, struct.pack("<H", 0x20) + bytes(12 if version == 5 else 13) + b"\x01\0") if automatic else b""
    )
    return compound({"Workbook": book.ljust(5000, b"\0")})


def ppt(code: str) -> bytes:
    """Slides, whose macros are a compound file packed into a record of their one stream."""
    packed = zlib.compress(compound(project(code)))
    object_ = struct.pack("<HHII", 0x10, 0x1011, len(packed) + 4, 0) + packed + b"damaged behind its end"
    return compound({"PowerPoint Document": bytes(3000) + object_ + bytes(3000), "Current User": b"x"})


def word_xml(code: str) -> bytes:
    """Office 2003's document in one file."""
    mime = b"ActiveMime".ljust(0x32, b"\0") + zlib.compress(compound(project(code)))
    start = b'<?xml version="1.0"?><?mso-application progid="Word.Document"?><w:wordDocument><w:binData w:name="editdata.mso">'
    return start + base64.encodebytes(mime) + b"</w:binData></w:wordDocument>"


def package(name: str, data: bytes) -> bytes:
    """The content of an Ole10Native stream."""
    text = name.encode()
    body = b"\x02\0" + text + b"\0" + text + b"\0" + b"\0\0\x03\0" + struct.pack("<I", len(text) + 1) + text + b"\0"
    body += struct.pack("<I", len(data)) + data
    return struct.pack("<I", len(body)) + body


def rtf(data: bytes, *, updates: bool = True) -> bytes:
    digits = data.hex().encode()
    lines = b"\n".join(digits[at : at + 80] for at in range(0, len(digits), 80))
    return b"{\\rtf1{\\object\\objemb" + (b"\\objupdate" if updates else b"") + b"{\\*\\objdata " + lines + b"}}}"


def ole1(name: bytes, data: bytes) -> bytes:
    """An embedded object as RTF has it (MS-OLEDS 2.2.5)."""
    return struct.pack("<III", 0x501, 2, len(name) + 1) + name + b"\0" + bytes(8) + struct.pack("<I", len(data)) + data


def pdf(catalog: bytes, packed: bytes = b"") -> bytes:
    objects = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog " + catalog + b" >>\nendobj\n"
    if packed:
        data = zlib.compress(packed)
        objects += b"2 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d >>\nstream\r\n" % len(data)
        objects += data + b"\r\nendstream\nendobj\n"
    return objects + b"trailer << /Root 1 0 R >>\n%%EOF\n"


def onenote(data: bytes) -> bytes:
    head = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3")
    guid = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
    return head + bytes(1000) + guid + struct.pack("<Q", len(data)) + bytes(12) + data + bytes(100)


def _number(value: int) -> bytes:
    """7z's numbers, in their longest form."""
    return b"\xff" + struct.pack("<Q", value)


def sevenzip(*names: str, packed: bool = True, locked: bool = False, hidden: bool = False, size: int = 100) -> bytes:
    text = b"\0" + "".join(f"{name}\0" for name in names).encode("utf-16-le")
    coder = b"\x24\x06\xf1\x07\x01" + _number(2) + b"\0\0" if locked else b"\x01\0"
    header = b"\x01\x04\x06" + _number(0) + _number(1) + b"\x09" + _number(10) + b"\0"
    header += b"\x07\x0b" + _number(1) + b"\0" + _number(1) + coder + b"\x0c" + _number(size) + b"\0\0"
    header += b"\x05" + _number(len(names)) + b"\x11" + _number(len(text)) + text + b"\0\0"
    body = bytes(10)
    if packed or hidden:
        filters = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}]
        data = lzma.compress(header, lzma.FORMAT_RAW, filters=filters)
        coder = b"\x24\x06\xf1\x07\x01" + _number(2) + b"\0\0" if hidden else b"\x23\x03\x01\x01\x05\x5d\0\0\x01\0"
        around = b"\x17\x06" + _number(len(body)) + _number(1) + b"\x09" + _number(len(data)) + b"\0"
        around += b"\x07\x0b" + _number(1) + b"\0" + _number(1) + coder + b"\x0c" + _number(len(header)) + b"\0\0"
        body, header = body + data, around
    return b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(4) + struct.pack("<QQI", len(body), len(header), 0) + body + header


def rar4(name: str, *, locked: bool = False, hidden: bool = False, unpacked: int = 5) -> bytes:
    main = struct.pack("<HBHH", 0, 0x73, 0x80 if hidden else 0, 13) + bytes(6)
    text = name.encode()
    head = struct.pack("<IIBIIBBHI", 5, unpacked, 2, 0, 0, 29, 0x33, len(text), 0) + text
    file = struct.pack("<HBHH", 0, 0x74, 0x8000 | (4 if locked else 0), 7 + len(head)) + head + b"xxxxx"
    return b"Rar!\x1a\x07\0" + main + file + struct.pack("<HBHH", 0, 0x7B, 0, 7)


def rar5(name: str, data: bytes = b"hello", *, locked: bool = False, hidden: bool = False) -> bytes:
    def block(body: bytes) -> bytes:
        return bytes(4) + bytes((len(body),)) + body

    start = b"Rar!\x1a\x07\x01\0"
    if hidden:
        return start + block(b"\x04\0" + bytes(20))
    text = name.encode()
    extra = b"\x02\x01\0" if locked else b""
    body = b"\x02" + (b"\x03" + bytes((len(extra),)) if extra else b"\x02") + bytes((len(data),))
    body += b"\0" + bytes((len(data),)) + b"\x20" + b"\0" + b"\0" + bytes((len(text),)) + text + extra
    return start + block(b"\x01\0\0") + block(body) + data + block(b"\x05\0\0")


def cabinet(*names: str) -> bytes:
    files = b"".join(struct.pack("<IIHHHH", 5, 0, 0, 0, 0, 0x20) + name.encode() + b"\0" for name in names)
    return b"MSCF" + bytes(12) + struct.pack("<IIBBHHHH", 44, 0, 3, 1, 1, len(names), 0, 0) + bytes(8) + files


def iso(*names: str) -> bytes:
    def directory(entry_names: list[bytes]) -> bytes:
        out = b""
        for name in entry_names:
            length = 33 + len(name) + (len(name) + 1) % 2
            out += struct.pack("<BB", length, 0) + struct.pack("<I", 30) + bytes(4) + struct.pack("<I", 5) + bytes(4)
            out += bytes(7) + b"\0" + bytes(6) + bytes((len(name),)) + name + bytes((len(name) + 1) % 2)
        return out

    def descriptor(kind: int, sector: int, size: int) -> bytes:
        root = struct.pack("<BB", 34, 0) + struct.pack("<I", sector) + bytes(4) + struct.pack("<I", size) + bytes(4)
        root += bytes(7) + b"\x02" + bytes(6) + b"\x01\0"
        return (bytes((kind,)) + b"CD001\x01" + bytes(149) + root).ljust(2048, b"\0")

    plain = directory([b"README.TXT;1"])
    joliet = directory([name.encode("utf-16-be") for name in names])
    image = bytes(16 * 2048) + descriptor(1, 20, len(plain)) + descriptor(2, 21, len(joliet)) + descriptor(255, 0, 0)
    return (
        image.ljust(20 * 2048, b"\0")
        + plain.ljust(2048, b"\0")
        + joliet.ljust(2048, b"\0")
        + bytes(9 * 2048)
        + b"hello"
    )


def tnef(*files: tuple[str, bytes]) -> bytes:
    def attribute(kind: int, data: bytes) -> bytes:
        return b"\x02" + struct.pack("<HHI", kind, 6, len(data)) + data + b"\0\0"

    out = b"\x78\x9f\x3e\x22\x01\0"
    for name, data in files:
        out += attribute(0x9002, bytes(14)) + attribute(0x8010, name.encode() + b"\0") + attribute(0x800F, data)
    return out


def zeros(mebibytes: int) -> bytes:
    """So many MiB of nothing, as raw deflate: one packed MiB, over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + packer.flush()


def zipped_zeros(mebibytes: int) -> bytes:
    packed, size = zeros(mebibytes), mebibytes << 20
    fixed = struct.pack("<HHHIIIHH", 8, 0, 0, 0, len(packed), size, 5, 0)
    local = b"PK\x03\x04\x14\0\0\0" + fixed + b"zeros" + packed
    entry = b"PK\x01\x02\x14\0\x14\0\0\0" + fixed + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"zeros"
    return local + entry + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local), 0)


def gzipped_zeros(mebibytes: int) -> bytes:
    return (
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zeros(mebibytes) + bytes(4) + struct.pack("<I", mebibytes << 20 & 0xFFFFFFFF)
    )


def overlapping(files: int = 250, size: int = 1 << 20) -> bytes:
    """Fifield's bomb (2019): many entries of the directory, and one packed file for all of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(size)) + packer.flush()
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(packed), size, 1, 0) + b"a" + packed
    entries = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(packed), size, 6, 0, 0, 0, 0, 0, 0)
        + b"%06d" % number
        for number in range(files)
    )
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, files, files, len(entries), len(local), 0)
    return local + entries + end
