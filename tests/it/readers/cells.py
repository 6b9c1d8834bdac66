"""What the cells of a workbook must hold, by the JSON files of its export. Two readers share it."""

import datetime
import json
import re
import zipfile

LIMIT = 32_767


def units(text):
    return len(text.encode("utf-16-le")) // 2


def cut(text):
    """The text that a cell holds."""
    if units(text) <= LIMIT:
        return text
    kept = text.encode("utf-16-le")[: 2 * (LIMIT - 3)].decode("utf-16-le", "ignore")
    return kept + "..."


def moment(text):
    """The time that a cell has for a date or timestamp, or None if it is a text there."""
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:\+00:00)?)?", text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    milliseconds = int((match[7] or "").ljust(3, "0")[:3])
    time = datetime.datetime(year, month, day, hour, minute, second, milliseconds * 1000)
    return time if time >= datetime.datetime(1900, 3, 1) else None


def expected(token, value, column):
    """What a cell holds: a text, a number, a boolean, a time, or None."""
    kind = column["written_type"]
    if value is None:
        return None
    if column["csv"] == "json":
        return cut(token)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if kind == "date" or kind.startswith("timestamp"):
            return moment(value) or cut(value)
        return cut(value)
    # A number, as JSON writes it.
    text = value.text
    if kind in ("real", "double precision"):
        number = float(text)
        is_kept = 2.3e-308 <= abs(number) <= 9.99e307 or text in ("0", "0.0")
        return number if is_kept else text
    digits = text.lstrip("-").replace(".", "").lstrip("0")
    places = len(text.partition(".")[2])
    return float(text) if len(digits) <= 15 and places <= 15 else cut(text)


class Number:
    def __init__(self, text):
        self.text = text


def tokens(line, columns):
    """Splits a line of our JSON into the tokens of its values."""
    decoder = json.JSONDecoder(parse_int=Number, parse_float=Number)
    at, found = 1, []
    for _ in columns:
        _, at = decoder.raw_decode(line, at)
        at += 1
        start = at
        _, at = decoder.raw_decode(line, at)
        found.append(line[start:at])
        at += 1
    return found


def read(path):
    """The manifest, the workbook, and for each entity the cells that its rows must have."""
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.getinfo("export.xlsx").compress_type == zipfile.ZIP_STORED
        rows = {}
        for entity in manifest["entities"]:
            text = archive.read(f"json/{entity['name']}.json").decode()
            lines = [line.removesuffix(",") for line in text.split("\n")[1:-2]]
            values = json.loads(text, parse_int=Number, parse_float=Number)
            rows[entity["name"]] = [
                [
                    expected(token, row[column["name"]], column)
                    for token, column in zip(tokens(line, entity["columns"]), entity["columns"])
                ]
                for line, row in zip(lines, values)
            ]
            count_what_is_cut(entity, lines, values)
        return manifest, archive.read("export.xlsx"), rows


def count_what_is_cut(entity, lines, values):
    """Compares the counts of the manifest."""
    for index, column in enumerate(entity["columns"]):
        texts = times = 0
        for line, row in zip(lines, values):
            value = row[column["name"]]
            if value is None or isinstance(value, bool):
                continue
            text = tokens(line, entity["columns"])[index] if column["csv"] == "json" else getattr(value, "text", value)
            if "times_cut_to_milliseconds_in_xlsx" in column and moment(text) is not None:
                times += re.search(r"\.\d{3}\d*[1-9]\d*", text) is not None
            else:
                texts += units(text) > LIMIT
        assert column["texts_cut_in_xlsx"] == texts, (entity["name"], column, texts)
        assert column.get("times_cut_to_milliseconds_in_xlsx", 0) == times, (entity["name"], column, times)
