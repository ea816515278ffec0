"""The advice on a text in another encoding: its first name reads the text as it was."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.data.reading import Text, read
from microgpt.errors import DataError

SENTENCES = {
    ("gbk", "utf-16-le", "utf-16-be"): (
        "昨天下午，我和朋友一起去图书馆看书，回家的路上下起了大雨。",
        "我们在一家小店门口等了半个小时，店主请我们进去喝茶。",
        "他说这条街已经有一百多年的历史了，现在只剩下几家老店。",
    ),
    ("big5", "utf-16-le", "utf-16-be"): (
        "昨天下午，我和朋友一起去圖書館看書，回家的路上下起了大雨。",
        "我們在一家小店門口等了半個小時，店主請我們進去喝茶。",
        "他說這條街已經有一百多年的歷史了，現在只剩下幾家老店。",
    ),
    ("shift_jis", "utf-16-le", "utf-16-be"): (
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
        "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。",
        "国境の長いトンネルを抜けると雪国であった。夜の底が白くなった。",
    ),
    ("euc_kr", "utf-16-le", "utf-16-be"): (
        "나는 어제 친구와 함께 도서관에 갔다. 집으로 돌아오는 길에 비가 많이 내렸다.",
        "우리는 작은 가게 앞에서 반 시간을 기다렸고, 주인이 차를 한 잔 주었다.",
        "이 거리는 백 년이 넘는 역사를 가지고 있지만 이제 오래된 가게는 몇 곳뿐이다.",
    ),
    ("cp1251", "koi8-r", "utf-16-le", "utf-16-be"): (
        "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.",
        "Всё смешалось в доме Облонских. Жена узнала, что муж был в связи с бывшею гувернанткой.",
        "Мороз и солнце; день чудесный! Ещё ты дремлешь, друг прелестный.",
    ),
    ("cp1252", "utf-16-le", "utf-16-be"): (
        "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes yeux se fermaient.",
        "Il était déjà très tard lorsque la fenêtre s’ouvrit ; le garçon n’avait pas rêvé, ça sentait le café brûlé.",
        "Où êtes-vous allés cet été ? Nous étions près de la forêt, là où coule la rivière.",
    ),
    ("cp1252", "utf-16-be", "utf-16-le"): (
        "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fühlte er sich müde.",
        "„Was ist mit mir geschehen?“, dachte er. Über dem Tisch hing ein Bild, schön gerahmt; draußen regnete es.",
        "Die Straße führte über die Brücke zum alten Schloß, wo früher fünf Könige wohnten.",
    ),
}


def _read(data: bytes, encoding: str = "utf-8") -> Text:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        return read(["-"], encoding=encoding)


PAIRS = [(encoding, sentences) for encodings, sentences in SENTENCES.items() for encoding in encodings]


def _advice(text: str, encoding: str) -> list[str]:
    """The encodings that the refusal of a text names, best first."""
    with pytest.raises(DataError) as refused:
        _read(text.encode(encoding))
    assert len(str(refused.value)) < 400
    return re.findall(r"(?:try --encoding|or) ([\w-]+)", str(refused.value))


@pytest.mark.parametrize("before", ["", "Chapter 1\n\n", "# a list\n" * 400])
@pytest.mark.parametrize(("encoding", "sentences"), PAIRS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_first_name_of_the_advice_gives_the_text_back(
    encoding: str, sentences: tuple[str, ...], before: str
) -> None:
    text = before + "\n".join(sentences * 5) + "\n"
    assert str(_read(text.encode(encoding), _advice(text, encoding)[0])) == text


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(PAIRS), st.data())
def test_one_of_the_names_gives_any_part_of_it_back(pair: tuple[str, tuple[str, ...]], data: st.DataObject) -> None:
    encoding, sentences = pair
    text = "\n".join(data.draw(st.lists(st.sampled_from(sentences), min_size=1, max_size=40)))
    read_so = [text.encode(encoding).decode(name, "replace") for name in _advice(text, encoding)]
    assert text in read_so


@pytest.mark.parametrize("line", [1, 7, 2000])
def test_one_bad_line_in_utf_8_is_named_by_line_and_byte(tmp_path: Path, line: int) -> None:
    lines = ["Où êtes-vous allés cet été ?\n".encode()] * 3000
    lines[line - 1] = "le café\n".encode("cp1252")
    (tmp_path / "it.txt").write_bytes(b"".join(lines))
    place = sum(map(len, lines[: line - 1])) + 6
    with pytest.raises(DataError, match=rf"0xe9 in line {line}, at byte {place}; .* are utf-8: correct that line"):
        read([str(tmp_path / "it.txt")])
