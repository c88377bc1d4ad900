"""Members are found where they stand, and what is cut or added leaves every other byte alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meter.members import Member, _cut_scanned, append, at_once, cut_null, member_bytes, members, scan

BOM = b"\xef\xbb\xbf"


def spelled(text: str, how: str) -> str:
    """Write a JSON string as it is, with what is not ASCII escaped, or with everything escaped."""
    if how == "escaped":
        units = text.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join("\\u" + units[i : i + 4] for i in range(0, len(units), 4)) + '"'
    return json.dumps(text, ensure_ascii=how == "ascii" or not text.isprintable())


def bracketed(brackets: str, items: list[str], blank: str) -> str:
    """Put an array's or an object's items together; a blank stands in it when it is empty."""
    return brackets[0] + (",".join(items) or blank) + brackets[1]


BLANK = st.sampled_from(["", "", " ", "\n\t", " \r\n"])
TEXTS = st.sampled_from(["usage", "usage", "a", "", "a/b", 'x"usage', '"usage":null', "}]{[", "\ud800", "\n"])
STRINGS = st.builds(
    spelled, TEXTS | st.text(max_size=5), st.sampled_from(["plain", "plain", "ascii", "escaped"])
)
NUMBERS = (
    st.integers().map(str) | st.floats().map(json.dumps) | st.sampled_from(["-0", "1.0", "1E3", "2e-07"])
)
PLAIN = STRINGS | NUMBERS | st.sampled_from(["null", "null", "true", "false"])


def padded(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Put blanks around what the strategy gives."""
    return st.builds("{}{}{}".format, BLANK, strategy, BLANK)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects with members of any name."""
    member = st.builds("{}:{}".format, padded(STRINGS), padded(values))
    return st.builds(bracketed, st.just("{}"), st.lists(member, max_size=4), BLANK)


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays of anything."""
    return st.builds(bracketed, st.just("[]"), st.lists(padded(values), max_size=3), BLANK)


DOCUMENTS = padded(objects(st.recursive(PLAIN, lambda inner: objects(inner) | arrays(inner), max_leaves=6)))


def pairs(text: str) -> Any:
    """Parse, with objects as lists of pairs and numbers as their text, so that nothing is lost."""
    return json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str, parse_constant=str)


def is_object(text: str, *, strict: bool = True) -> bool:
    """Ask the standard library whether `text` is one JSON object."""
    try:
        return isinstance(json.loads(text if strict else text.strip(), parse_int=str, strict=strict), dict)
    except ValueError:
        return False


def taken(text: str) -> tuple[bool, bool]:
    """Tell whether `text` is taken for an object, strictly and not."""
    return at_once(scan(text.encode())) is not None, members(text.encode()) is not None


def parts(text: bytes) -> list[bytes]:
    """Return each member of an object as it stands."""
    return [text[member.start : member.end] for member in members(text) or []]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", []),
        (b" { } \n", []),
        (b'{"a":1}', [("a", b"1")]),
        (b' { "a" : 1.0 , "b" :\t"x" } ', [("a", b"1.0"), ("b", b'"x"')]),
        (b'{"a":{"a":[1,{"b":2}]},"b":[]}', [("a", b'{"a":[1,{"b":2}]}'), ("b", b"[]")]),
        (b'{"a":[ ],"b":{ },"c":[[],[[]]]}', [("a", b"[ ]"), ("b", b"{ }"), ("c", b"[[],[[]]]")]),
        (b'{"a":1,"a":2}', [("a", b"1"), ("a", b"2")]),
        (b'{"\\u0075sage":null}', [("usage", b"null")]),
        (b'{"\\ud83d\\ude00\\n\\/":0}', [("\U0001f600\n/", b"0")]),
        (b'{"\\ud800":"\\udfff"}', [("\ud800", b'"\\udfff"')]),
        ('{"ü":"ü"}'.encode(), [("ü", '"ü"'.encode())]),
        (b'{"\xff":"\xff\xfe"}', [(None, b'"\xff\xfe"')]),
        (
            BOM + b'{"a":NaN,"b":-Infinity,"c":Infinity}',
            [("a", b"NaN"), ("b", b"-Infinity"), ("c", b"Infinity")],
        ),
        (b'{"a":-0,"b":1E+3,"c":0.0e-7}', [("a", b"-0"), ("b", b"1E+3"), ("c", b"0.0e-7")]),
        (b'{"a":' + b"1" * 5_000 + b"}", [("a", b"1" * 5_000)]),
        (b'{"a":"\\"}","b":true}', [("a", b'"\\"}"'), ("b", b"true")]),
    ],
    ids=repr,
)
def test_members(text: bytes, expected: list[tuple[str | None, bytes]]) -> None:
    """Members come out in order, each with its unescaped name and its value's very bytes."""
    found = members(text)

    assert found is not None
    assert expected == [(member.name, text[member.value : member.end]) for member in found]


def test_positions() -> None:
    """Positions count bytes of the text as it came, a byte order mark included."""
    assert members(BOM + b' {"a": 1 , "b":[2] }') == [Member("a", 5, 10, 11), Member("b", 14, 18, 21)]


NO_VALUE = (
    b"", b"}", b",", b"01", b"-", b"+1", b".5", b"1.", b"1e", b"1e+", b"0x1", b"-NaN", b"+Infinity",
    b"nul", b"True", b"nullnull", b"truex", b"1/**/", b"\x0c1", b"[1,]", b"[,1]", b"[1}", b"[1 2]", b"[1:2]",
    b"[}", b"{]", b"{1}", b"'b'", b'"\n"', b'"\x00"', b'"\\x"', b'"\\u12"', b'"\\u12g4"', b'"\\"', b'"',
    b'"\\', b'"b', b'"b""c"', b'1 "b":2',
)  # fmt: skip
NO_OBJECT = (
    b"", b" ", b"null", b"1", b'"a"', b"[]", b'[{"a":1}]', b"{", b"}", b'{"a"', b'{"a":', b'{"a":1',
    b'{"a":1,', b'{"a":1,}', b"{,}", b'{,"a":1}', b'{"a" 1}', b'{"a"::1}', b'{"a"}', b'{"a":1]', b'{"a\t":1}',
    b"{a:1}", b"{'a':1}", b"{1:1}", b"{null:1}", b"{[]:1}", b"{{}:1}",
    b'{"a":1}}', b'{"a":1}{', b'{"a":1} x', b'{"a":1}//', b'{"a":1}\x00', b"{}" + BOM,
    BOM + BOM + b"{}", b"\xff{}",
)  # fmt: skip


@pytest.mark.parametrize("text", [*NO_OBJECT, *(b'{"a":' + value + b"}" for value in NO_VALUE)], ids=repr)
def test_what_is_no_object(text: bytes) -> None:
    """Malformed or truncated JSON and any other top level give nothing."""
    assert at_once(scan(text)) is None
    assert (members(text) is None) is not (text in ODD)


ODD = (b'{"a\t":1}', b'{"a":"\n"}', b'{"a":"\x00"}', b'\x0b {"a":"\x1f"}\x1e')
"""Texts that are objects if they need not be written strictly."""


@pytest.mark.parametrize("text", [*ODD, '\u2028{"a":1}\xa0'.encode()], ids=repr)
def test_what_is_written_oddly(text: bytes) -> None:
    """Control characters in strings and odd blanks around an object are taken in answers alone."""
    assert at_once(scan(text)) is None
    assert 1 == len(members(text) or ())


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS)
def test_agrees_with_a_parser(text: str) -> None:
    """Names are those that a parser reads, and the bytes of each value parse to its value."""
    raw = text.encode()
    found = members(raw)

    assert found is not None
    assert pairs(text) == [(member.name, pairs(raw[member.value : member.end].decode())) for member in found]
    assert all(raw[member.start] == ord('"') for member in found)


@settings(max_examples=600, deadline=None)
@given(
    DOCUMENTS,
    st.integers(0, 80),
    st.integers(0, 3),
    st.text('{}[]",:\\u01-.eE \nntrue/x\t\x01\x0c\x85', max_size=3),
)
def test_mutations_are_judged_as_by_a_parser(text: str, at: int, out: int, put: str) -> None:
    """With some characters taken out or put in, exactly what the standard library takes is taken."""
    mutated = text[:at] + put + text[at + out :]

    assert (is_object(mutated), is_object(mutated, strict=False)) == taken(mutated)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.sampled_from(["{", "}", "[", "]", ",", ":", '"a"', '"\\n"', "1", "null", " "]), max_size=10)
)
def test_token_soups_are_judged_as_by_a_parser(tokens: list[str]) -> None:
    """Tokens in any order are taken exactly where they are an object to the standard library."""
    for text in ("{" + "".join(tokens) + "}", '{"a":' + "".join(tokens) + "}"):
        assert (is_object(text), is_object(text, strict=False)) == taken(text)


def test_nesting() -> None:
    """A thousand levels are taken, one more is not, and neither are a hundred thousand."""
    for depth, fits in ((1_000, True), (1_001, False), (100_000, False)):
        lists = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
        dicts = b'{"a":' * depth + b"1" + b"}" * depth

        assert (members(lists) is not None, members(dicts) is not None) == (fits, fits)

    assert members(b"[" * 100_000) is None
    assert members(b'{"a":' * 100_000) is None


def test_token_limit() -> None:
    """An object of as many tokens as allowed is taken, one of more is not."""
    text = b'{"a":[1,"b"]}'  # { "a" : [ 1 , "b" ] }
    for tokens, fits in ((9, True), (8, False)):
        scanning = scan(text, tokens=tokens)
        with pytest.raises(StopIteration) as end:
            next(scanning)

        assert (end.value.value is not None) is fits


def test_gives_way() -> None:
    """A scan yields once a slice of tokens and once a stretch of a long string, and finds the same."""
    many = b'{"a":[' + b"1," * 5_000 + b"1]}"
    long = b'{"a":"' + b"x" * (8 << 20) + b'","b":1}'
    escapes = b'{"a":"x' + b"\\n" * (4 << 20) + b'"}'

    assert 10 <= sum(1 for _ in scan(many, slice_tokens=1_000)) <= 11
    assert sum(1 for _ in scan(long)) == 31
    assert sum(1 for _ in scan(escapes)) == 32
    assert [(m.name, m.value, m.end) for m in members(long) or []] == [
        ("a", 5, (8 << 20) + 7),
        ("b", (8 << 20) + 12, (8 << 20) + 13),
    ]


@pytest.mark.parametrize("escape", [b"\\n", b"\\u00fc", b'\\"', b"\\\\"])
def test_long_strings_are_judged_like_short_ones(escape: bytes) -> None:
    """Escapes at any place of a string that is scanned in stretches are whole, and bad ones are seen."""
    for shift in range(7):
        text = b'{"' + b"x" * shift + escape * 140_000 + b'":"' + b"x" * (300_000 + shift) + escape + b'"}'

        assert [member.end for member in members(text) or []] == [len(text) - 1]
        assert members(text[:-2]) is None
        assert members(text[:-2] + b'\\x"}') is None
        assert at_once(scan(text[:-2] + b'\n"}')) is None
        assert [len(text)] == [member.end for member in members(text[:-2] + b'\n"}') or []]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a":1,"usage":null,"b":2}', b'{"a":1,"b":2}'),
        (b'{"a": 1, "usage": null}', b'{"a": 1}'),
        (b'{"usage": null, "b": 2}', b'{"b": 2}'),
        (b'{"usage":null}', b"{}"),
        (b'{ "usage" : null }', b"{  }"),
        (b'{"a": 1, "usage": null }', b'{"a": 1 }'),
        (b'{"a":1 , "usage"\n:\tnull , "b":2}', b'{"a":1 , "b":2}'),
        (b'{"a":1,"\\u0075sage":null}', b'{"a":1}'),
        (b'{"a":1,"\\u0075s\\u0061ge":null,"usage":null}', b'{"a":1}'),
        (b'{"usage":null,"usage":null, "a":1}', b'{"a":1}'),
        (b'{"usage":null , "usage":null }', b"{ }"),
        (b'{"usage":{"a":1},"usage":null}', b'{"usage":{"a":1}}'),
        (b'{"usage":null,"choices":[{"usage":null}]}', b'{"choices":[{"usage":null}]}'),
        (b'{"usage":null,"choices":[{"delta":{}}]}', b'{"choices":[{"delta":{}}]}'),
        (b'{"a":[{}],"usage":null,"b":"]}"}', b'{"a":[{}],"b":"]}"}'),
        (b'{"a":"\\"usage\\":null","usage":null}', b'{"a":"\\"usage\\":null"}'),
        (b'{"a":"\\u4f60","usage":null}', b'{"a":"\\u4f60"}'),
        (b'{"a":"\\u003c\\u0061","usage":null}', b'{"a":"\\u003c\\u0061"}'),
        (BOM + b'{"usage":null,"b":1}\n', BOM + b'{"b":1}\n'),
        (b'{"a":"\n[{","usage":null,"b":"\x00}]"}', b'{"a":"\n[{","b":"\x00}]"}'),
        (b'{"a\t\\u0061":[{}],"usage":null,"b":{}}', b'{"a\t\\u0061":[{}],"b":{}}'),
        (b'\x0c{"usage":null,"usage":null}\x1e', b"\x0c{}\x1e"),
    ],
)  # fmt: skip
def test_cut_null(text: bytes, expected: bytes) -> None:
    """A null member goes with the comma that its coming had brought, and no other byte does."""
    assert cut_null(text, "usage") == expected


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"usage":1}',
        b'{"usage":{"a":null}}',
        b'{"usage":"null"}',
        b'{"a":{"usage":null}}',
        b'{"a":{"b":1,"usage":null},"c":[1]}',
        b'{"a":[{"usage":null}],"b":1}',
        b'{"a":"usage","b":null}',
        b'{"a":"usage"}',
        b'{"a":"\\"usage\\":null"}',
        b'{"x\\"usage":null}',
        b'{"Usage":null,"usages":null}',
        b'{"a":"\\u0061"}',
        b'{"a":"\\u0061","usage":1}',
        b'[{"usage":null}]',
    ],
)
def test_cut_null_of_nothing(text: bytes) -> None:
    """Where no top-level member of that name is null, the very text comes back."""
    assert cut_null(text, "usage") is text


@pytest.mark.parametrize("name", ["a/b", 'x"usage', "ü", "", "\n"])
def test_cut_null_of_odd_names(name: str) -> None:
    """A name that may be spelled in several ways is found in each of them."""
    for how in ("plain", "ascii", "escaped"):
        assert cut_null(f'{{"a":1,{spelled(name, how)}:null}}'.encode(), name) == b'{"a":1}'

    assert cut_null(b'{"a\\/b":null,"c":1}', "a/b") == b'{"c":1}'


@settings(max_examples=600, deadline=None)
@given(DOCUMENTS, st.sampled_from(["usage", "a"]))
@example('{"a":"x","usage":null,"b":"}"}', "usage")
@example('{"a":{"usage":null}}', "usage")
def test_cut_null_of_anything(text: str, name: str) -> None:
    """What is left are the other members, which stand as they stood, and no shortcut changes that."""
    raw = text.encode()
    result = cut_null(raw, name)
    gone = [(member.name, raw[member.value : member.end]) == (name, b"null") for member in members(raw) or []]
    stay = [part for part, cut in zip(parts(raw), gone, strict=True) if not cut]

    assert [pair for pair in pairs(text) if pair != (name, None)] == pairs(result.decode())
    assert stay == parts(result)
    assert raw[: raw.index(b"{") + 1] == result[: result.index(b"{") + 1]
    assert raw[raw.rindex(b"}") :] == result[result.rindex(b"}") :]
    assert _cut_scanned(raw, name) == result
    assert (result is raw) is not any(gone)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", b'{"b":2}'),
        (b" { } \n", b' { "b":2} \n'),
        (BOM + b"{}", BOM + b'{"b":2}'),
        (b'{"a":1}', b'{"a":1,"b":2}'),
        (b'{"a":{}}', b'{"a":{},"b":2}'),
        (b'{\n  "a": "{"\n}\n', b'{\n  "a": "{"\n,"b":2}\n'),
    ],
)
def test_append(text: bytes, expected: bytes) -> None:
    """A member goes directly before the last brace, with a comma only where others are before it."""
    assert append(text, b'"b":2') == expected


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_append_to_anything(text: str) -> None:
    """The object then has the member as its last, and the bytes around it are the old ones."""
    raw = text.encode()
    result = append(raw, b'"new": 1')
    before, after = result.rsplit(b'"new": 1', 1)

    assert [*pairs(text), ("new", "1")] == pairs(result.decode())
    assert before.removesuffix(b",") + after == raw


def test_append_without_a_brace() -> None:
    """A text that has no brace is refused."""
    with pytest.raises(ValueError, match="not found"):
        append(b"[]", b'"a":1')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"timings" : {"a": 1.0} ,"b":2}', b'"timings" : {"a": 1.0}'),
        (b'{"timings":1,"b":{"timings":2}}', b'"timings":1'),
        (b'{"timings":1,"\\u0074imings":2}', b'"\\u0074imings":2'),
        (b'{"a":1}', None),
        (b'{"timings":1', None),
    ],
)
def test_member_bytes(text: bytes, expected: bytes | None) -> None:
    """The last top-level member of the name comes as it stands, and nothing where there is none."""
    assert member_bytes(text, "timings") == expected
