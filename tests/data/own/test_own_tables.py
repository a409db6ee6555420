"""Tables are read as people save them, and what cannot be one is refused."""

from __future__ import annotations

import codecs

import pytest

from thimble.data.own.tables import Table, read_table
from thimble.errors import UserError


def read(text: str | bytes) -> Table:
    return read_table(text if isinstance(text, bytes) else text.encode(), "t.csv")


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(separator: str, end: str) -> None:
    found = read(end.join(separator.join(row) for row in [["image", "label"], ["a b.jpg", "x"], ["c", "y z"]]))
    assert found == Table(("image", "label"), [["a b.jpg", "x"], ["c", "y z"]])


def test_the_separator_is_the_one_of_the_first_row() -> None:
    assert read("image;label\na.jpg;1,5\n").rows == [["a.jpg", "1,5"]]
    assert read("image,label;x\na,1;2\n").columns == ("image", "label;x")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str) -> None:
    assert read("bild,größe\nä,ß\n".encode(encoding)) == Table(("bild", "größe"), [["ä", "ß"]])


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_an_encoding_by_its_mark(mark: bytes) -> None:
    name = {2: "utf-16", 4: "utf-32"}[len(mark)] + ("-le" if mark == codecs.BOM_UTF16_LE else "-be")
    assert read(mark + "image,label\né,x\n".encode(name)).rows == [["é", "x"]]


def test_quotation_marks() -> None:
    found = read('image,"the label"\n"a, b.jpg","two\nlines"\n"say ""x""", y\nsize 5" x,z\n')
    assert found.columns == ("image", "the label")
    assert found.rows == [["a, b.jpg", "two\nlines"], ['say "x"', "y"], ['size 5" x', "z"]]


def test_rows_without_values_do_not_count() -> None:
    text = '\n  \n,,\nimage,label,note\n\n,,\n a ,x\nb,y,,\n"","",""\n'
    assert read(text) == Table(("image", "label", "note"), [["a ", "x", ""], ["b", "y", ""]])


def test_a_column_may_lack_a_name() -> None:
    assert read(",image,label\n0,a,x\n") == Table(("", "image", "label"), [["0", "a", "x"]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty: expected at least two"),
        ("\n,,\n", "t.csv is empty: expected at least two"),
        ("a.jpg\nb.jpg\n", r"t.csv has one column, 'a.jpg': expected at least two, an image's path and its label"),
        ("image,\na,\n", "t.csv has one column, 'image': expected at least two"),
        ("i,l\na,x\n\nb,y,z\n", r"t.csv, line 4: 3 values, but 2 column names; expected values with a ',' inside"),
        ('i,l\na,"x\nb,y\n', r"t.csv, line 3: a quotation mark is not closed; expected a table such as CSV"),
        ('i,l\na,"x"y\n', r"""t.csv, line 2: ',' expected after '"'; expected a table such as CSV"""),
        (
            "i,l\n" + "a" * 200_000 + ",x\n",
            r"t.csv, line 2: field larger than field limit",
        ),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            r"t.csv is no text in UTF-8, nor in UTF-16 with a byte order mark",
        ),
        ("image,label\na,x\n".encode("utf-16-le"), r"t.csv is no text in UTF-8, nor in UTF-16"),
        (codecs.BOM_UTF16_LE + b"a", r"t.csv is damaged: expected utf-16 text, as its first bytes say"),
    ],
)
def test_what_is_no_table(text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"^{message}"):
        read(text)


def test_messages_are_one_line_whatever_the_name() -> None:
    with pytest.raises(UserError, match=r"^a\\nb\.csv is empty") as found:
        read_table(b"", "a\nb.csv")
    assert "\n" not in str(found.value)


def test_windows_text_is_told() -> None:
    found = read("image,label\na,größe\n".encode("cp1252"))
    assert found.rows == [["a", "größe"]]
    assert found.notes == ("t.csv is not UTF-8: read as Windows-1252.",)


def test_many_rows() -> None:
    found = read("image,label\n" + "".join(f"{number}.jpg,x\n" for number in range(50_000)))
    assert (len(found.rows), found.rows[-1]) == (50_000, ["49999.jpg", "x"])
