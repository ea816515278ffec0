"""The twelve lessons as a learner does them, by keyboard: the pages show the answers, and a mistake is helped."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.documents.pages import PAGES
from tests.studio.visiting import READY, go, phase, visited

pytestmark = [pytest.mark.browser, pytest.mark.long]
TABLE = re.findall(r"^\| \d+ \|.*?\*\*([\d.]+)\*\*", PAGES["COURSE.md"].read_text("utf-8"), re.M)
ANSWERS = [*map(float, TABLE)]  # of the sheet for the teacher, …
APART = 0.06  # … which those of another engine differ from by less
Lesson = Callable[[Any, Any], Iterator[tuple[str, str]]]  # (watched, tab) to what is typed and what is told


def test_a_learner_goes_through_all_lessons(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        go(watched, address, page="model")
        assert tab.get_by_role("link", name="train one").is_visible()
        go(watched, address, page="lessons", lesson="8")
        assert "do lesson 2 first" in tab.inner_text(".page-lessons .trouble")
        go(watched, address, page="lessons")
        tab.get_by_role("link", name="Begin", exact=True).press("Enter")
        for place, lesson in enumerate(LESSONS, 1):
            tab.wait_for_function(AT, arg=place)
            last = ""
            for typed, said in lesson(watched, tab):
                told = answered(tab, typed)
                assert re.search(said, told), (place, typed, told)
                last = typed or last
            assert told.startswith("Right. "), (place, told)
            assert float(last.replace(",", ".").rstrip("%")) == pytest.approx(ANSWERS[place - 1], rel=APART), place
            onward = tab.locator(".page-lessons a.button")
            assert tab.evaluate("document.activeElement.id") == "lesson-answer"
            tab.keyboard.press("Tab")
            tab.keyboard.press("Tab")
            assert onward.evaluate("link => link === document.activeElement"), place
            tab.keyboard.press("Enter")
        tab.wait_for_selector("#lessons-done")
        tab.reload()
        assert "12 of 12 done" in tab.inner_text("#lessons-done")
        watched.check()


AT = "place => document.querySelector('.page-lessons > .hint')?.innerText.includes(`lesson ${place} of`)"


def answered(tab: Any, typed: str) -> str:
    tab.evaluate("document.querySelector('#lesson-told').replaceChildren()")
    tab.locator("#lesson-answer").fill(typed) if tab.locator("#lesson-answer").is_editable() else None
    tab.locator("#lesson-answer").press("Enter")
    tab.wait_for_selector("#lesson-told:not(:empty)")
    return str(tab.inner_text("#lesson-told"))


def follow(tab: Any, link: str) -> None:
    tab.get_by_role("link", name=link, exact=True).press("Enter")
    tab.wait_for_selector(f".page:not(.page-lessons){READY[5:]}")


def back(tab: Any) -> None:
    tab.locator("nav [data-page=lessons]").press("Enter")
    tab.wait_for_selector(f".page-lessons{READY[5:]}")


def trained(watched: Any, link: str, **fields: str) -> str:
    """What the page tells of a training begun there."""
    follow(watched.tab, link)
    for name, value in fields.items():
        watched.tab.locator(f"#field-{name}").fill(value)
    watched.tab.locator("#start").press("Enter")
    phase(watched, "Finished")
    watched.tab.wait_for_function("() => document.querySelector('#result').innerText.includes('Held-out loss')")
    told = str(watched.tab.inner_text("#result"))
    back(watched.tab)
    return told


def losses(told: str) -> list[float]:
    """Held-out loss, letter frequencies, knowing nothing and the table of counts, of the line below a curve."""
    found = re.findall(r"(?:loss|score|alike|counts) ([\d,.]*\d)", told)
    return [float(each.replace(",", "")) for each in found]


def what_is_a_loss(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    yield "", "Type a number"
    yield "−3.296", "never below 0"
    yield "3,30", "3.296"


def train(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    yield "2.4", "press Train"
    loss, unigram, *_ = losses(trained(watched, "Open Train"))
    yield str(unigram), "letter frequencies"
    yield str(loss), str(loss)


def tokens(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    follow(tab, "Open Train with byte pairs")
    tab.wait_for_selector(".piece")
    pieces = tab.locator(".shown").evaluate("""shown => {
      const names = [[]];
      for (const node of shown.childNodes)
        node.nodeType === 3 ? names.push([]) : names.at(-1).push(node.textContent);
      return names.find((name) => name.join("") === "isabella").length;
    }""")
    back(tab)
    yield "8", "These are the letters"
    yield str(pieces), "only 5 guesses"


def next_token(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    follow(tab, "Open the X-ray")
    percent = ".chances li:first-child .percent"
    usual = tab.inner_text(percent)
    for _ in range(10):
        tab.locator("#xray-temperature").press("ArrowLeft")
    cold = tab.inner_text(percent)
    back(tab)
    yield usual, "at temperature 1"
    yield cold, "likelier"


def atom(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    follow(tab, "Open Atoms")
    for name, value in (("b", "5"), ("c", "-4")):
        tab.fill(f".value [name={name}]", value)
    tab.wait_for_selector("[data-label=c][data-value='-4']")
    gradient = tab.get_attribute("[data-label=a]", "data-gradient")
    back(tab)
    yield "-3", "while b was"
    yield gradient, "the value of b"


def backward(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    follow(tab, "Open Atoms")
    assert tab.get_attribute("[data-label=a]", "data-gradient") == "0"
    for step in (1, 2, 3):
        tab.get_by_role("button", name="One step on").press("Enter")
        tab.wait_for_selector(f".graph[data-step='{step}']")
    gradient = tab.get_attribute("[data-label=a]", "data-gradient")
    back(tab)
    yield "12", "second path"
    yield gradient, "together"


def downhill(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    yield "0.01", "better than knowing nothing"
    yield "1", "train one with it"
    trained(watched, "Open Train at rate 0.001", lr="1")
    yield "1", "too long"


def attention(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    follow(tab, "Open the X-ray at isabella")
    tab.get_by_role("button", name="head 2").press("Enter")
    tab.wait_for_function("() => document.querySelector('.strip .told').innerText.includes('head 2 of')")
    [position] = re.findall(r"attends to .*? at (\d)", tab.inner_text(".strip .told"))
    back(tab)
    yield "99", "behind “at”"
    yield position, f"Position {position}"


def by_heart(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    yield "50", "no finished run on the twenty names"
    trained(watched, "Open Train with twenty names")
    tab.go_back()
    tab.wait_for_selector("#verdict:not([hidden])")
    [best] = re.findall(r"best at step (\d+)", tab.inner_text("#verdict"))
    back(tab)
    yield "1000", "last step"
    yield best, f"at step {best}"


def counting(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    follow(tab, "Open your best run")
    tab.wait_for_selector("#result > *")
    loss, _, _, counts = losses(tab.inner_text("#result"))
    back(tab)
    yield str(counts), "loss of the table"
    yield f"{loss - counts:.2f}", "catch up"


def bigger_or_longer(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    yield "0.1", "width 16 and 4,000"
    longer, *_ = losses(trained(watched, "Open Train, longer"))
    yield "0.1", "width 32 and 1,000"
    bigger, *_ = losses(trained(watched, "Open Train, bigger"))
    yield str(longer), "the longer one"
    yield str(bigger - longer), "longer is better"


def predict(watched: Any, tab: Any) -> Iterator[tuple[str, str]]:
    yield "1.5", "Written down: 1.5"
    yield "", "waits for a run of 16,000"
    told, *_ = losses(trained(watched, "Open Train, 16,000 steps"))
    yield "", f"it is {told}.*fell by less"
    yield str(told - 0.02), "train 64,000 steps"
    trained(watched, "Open Train, 64,000 steps")
    yield "", "You knew it before"


LESSONS: list[Lesson] = [
    what_is_a_loss,
    train,
    tokens,
    next_token,
    atom,
    backward,
    downhill,
    attention,
    by_heart,
    counting,
    bigger_or_longer,
    predict,
]
