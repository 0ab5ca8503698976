"""The page in a real browser, against a robot that is really simulated and recorded."""

import json

import pytest

from emu_planner.console.record import list_sessions, read_session
from emu_planner.console.robot import Ending, StepState
from emu_planner.service.access import hash_token
from tests.console.browser import blinking_robot, chromium, console, open_page, serving

pytestmark = pytest.mark.slow

TASK = "stack the orange block on the green block and the red block on the orange block"
# not done before nor after the other
OTHER_TASK = "stack the red block on the green block and the orange block on the red block"
DEMO = ("--demo", "--scene", "stack", "--seed", "7", "--time-factor", "50")
CAN_DECIDE = "#approve:not([disabled])"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def robot(browser, tmp_path_factory):
    with console(tmp_path_factory.mktemp("console"), *DEMO) as process:
        yield process


def ask(page, sentence: str = OTHER_TASK) -> None:
    page.wait_for_function("() => window.seen && window.socket?.connected")
    page.wait_for_selector("#plan:not([disabled])")
    page.keyboard.press("/")
    page.keyboard.type(sentence)
    page.keyboard.press("Enter")
    page.wait_for_selector(CAN_DECIDE)


def rearm(page) -> None:
    page.check("#clear")
    page.click("#rearm")
    page.wait_for_selector("#held", state="hidden")


def wait_for_words(page, selector: str, words: str) -> None:
    page.wait_for_function(
        "([s, w]) => document.querySelector(s)?.textContent.includes(w)", arg=[selector, words]
    )


def test_a_whole_session_with_an_edit_and_a_skip_is_recorded_as_it_was_seen(browser, robot):
    page = open_page(browser, robot.url, "Anna")
    assert "ORACLE" in page.text_content("header")
    assert page.is_disabled("#approve")
    ask(page, TASK)
    assert page.text_content("#words") == "pick up the orange block"
    page.keyboard.press("e")
    page.fill("#edit-text", "pick up the red block")
    page.click("#edit-send")
    wait_for_words(page, "#steps", "edited by Anna")
    wait_for_words(page, "#words", "place the red block on the table")
    page.wait_for_selector(CAN_DECIDE)
    # the first step of the second plan is passed over: the same is planned again
    page.keyboard.press("s")
    page.wait_for_selector("#steps li:nth-child(3)")
    page.wait_for_selector(CAN_DECIDE)
    # said again in other words, then done to the end
    words = page.text_content("#words")
    page.keyboard.press("r")
    page.wait_for_function("w => document.querySelector('#words').textContent !== w", arg=words)
    while not page.locator("#heading", has_text="End of the plan").count():
        page.wait_for_function(
            f"""() => document.querySelector('{CAN_DECIDE}')
            || document.querySelector('#heading').textContent.includes('End')"""
        )
        if page.locator(CAN_DECIDE).count():
            step = page.get_attribute("#now", "data-step")
            page.keyboard.press("a")
            page.wait_for_function("s => document.querySelector('#now').dataset.step !== s", arg=step)
    assert page.text_content("#words") == "Plan complete"
    assert not page.foreign, "the page works without any other machine"
    assert not page.broken
    recorded = _newest(robot)
    assert (recorded.task, recorded.ending) == (TASK, Ending.COMPLETE)
    last = read_session(recorded.folder)[-1].look.snapshot
    assert last.steps[0].original == "pick up the orange block"
    assert last.steps[0].decided_by == "Anna"
    assert last.steps[1].state is StepState.SKIPPED
    assert [step.state for step in last.steps[2:]] == [StepState.SUCCEEDED] * len(last.steps[2:])
    assert all(step.keyframe and step.before for step in last.steps)
    page.context.close()


def test_hold_is_latched_until_a_second_other_action(browser, robot):
    page = open_page(browser, robot.url, "Anna")
    ask(page)
    page.click("#edit-open")
    page.keyboard.press("Escape")  # from inside the dialog
    page.wait_for_selector("#held")
    assert not page.is_visible("#edit")
    assert page.is_disabled("#approve")
    assert page.is_disabled("#plan")
    wait_for_words(page, "#words", "stopped by a hold")
    page.reload()
    page.wait_for_selector("#held")
    page.click("#hold")
    page.click("#rearm")
    wait_for_words(page, "#say", "Look at the robot first")
    assert page.is_visible("#held")
    rearm(page)
    wait_for_words(page, "#journal", "re-armed the robot")
    assert not page.is_disabled("#plan")
    page.context.close()


def test_two_operators_see_the_same_and_the_slower_one_is_refused_in_words(browser, robot):
    anna, ben = (open_page(browser, robot.url, name) for name in ("Anna", "Ben"))
    ask(anna)
    ben.wait_for_selector(CAN_DECIDE)
    assert ben.text_content("#words") == anna.text_content("#words")
    # what Ben sees stands still, as on a slow link, while Anna decides
    seen = ben.evaluate("() => ({...document.querySelector('#now').dataset})")
    ben.evaluate(
        "seen => { const now = window.seen; window.seen = (extra) => ({...now(), ...seen, ...extra}); }", seen
    )
    anna.keyboard.press("s")
    anna.wait_for_function("e => document.querySelector('#now').dataset.epoch > e", arg=seen["epoch"])
    ben.wait_for_selector(CAN_DECIDE)
    ben.click("#approve")
    wait_for_words(ben, "#say", "Anna was faster")
    assert "skipped by Anna" in ben.text_content("#steps")
    # Ben may stop what Anna asked for, and Anna sees who did
    ben.reload()
    ben.fill("#operator", "Ben")
    ben.wait_for_selector(CAN_DECIDE)
    ben.keyboard.press("Tab")  # out of the name
    ben.keyboard.press("x")
    wait_for_words(anna, "#words", "Ben rejected step")
    for page in (anna, ben):
        page.context.close()


def test_a_lost_console_is_said_in_big_letters_and_comes_back_by_itself(browser, robot):
    page = open_page(browser, robot.url, "Anna")
    ask(page)
    robot.pause()
    page.keyboard.press("a")  # before the page can know that nobody hears it
    page.wait_for_selector("#offline", state="visible")
    assert "NO CONNECTION" in page.text_content("#offline")
    assert page.evaluate("document.querySelector('#page').inert")
    page.keyboard.press("a")
    robot.go_on()
    page.wait_for_selector("#offline", state="hidden")
    wait_for_words(page, "#say", "it came late")
    page.wait_for_selector(CAN_DECIDE)
    assert "approved" not in page.text_content("#journal"), "nothing was done that was said while it was lost"
    page.keyboard.press("x")
    wait_for_words(page, "#heading", "End of the plan")
    page.context.close()


@pytest.mark.xfail(
    reason="on a busy machine the list was sometimes not drawn in 30 s; why is not known", strict=False
)
def test_history_shows_again_what_was_seen(browser, robot):
    page = open_page(browser, robot.url + "history")
    page.click(f"a.session:has-text('{TASK}') >> nth=-1")
    page.wait_for_selector("#place")
    # before that, what is done to the page reaches nobody
    page.wait_for_function("() => window.socket?.connected")
    page.keyboard.press("n")
    length = float(page.get_attribute("#place", "max"))
    page.evaluate(
        """end => { const p = document.querySelector('#place'); p.value = end;
        p.dispatchEvent(new Event('input')); }""",
        length,
    )
    wait_for_words(page, "#words", "Plan complete")
    assert "edited by Anna" in page.text_content("#steps")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#steps img, .cameras img')].every(i => i.naturalWidth > 0)"
    )
    assert not page.locator("#approve").count(), "nothing can be decided about the past"
    page.set_viewport_size({"width": 1024, "height": 768})
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024
    page.context.close()


@pytest.mark.parametrize("size", [(1280, 800), (1024, 768), (820, 1180)])
def test_everything_can_be_reached_on_a_tablet(browser, robot, size):
    page = open_page(browser, robot.url, size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0], "nothing to scroll sideways"
    for button in page.locator("footer button").all():
        shown = button.bounding_box()
        assert shown["height"] >= 56
        assert shown["x"] >= 0
        assert shown["x"] + shown["width"] <= size[0]
        assert shown["y"] + shown["height"] <= size[1]
        assert button.get_attribute("aria-label")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('input, textarea')].filter(e =>
        !e.labels?.length && !e.ariaLabel && !e.getAttribute('aria-labelledby')).map(e => e.id)"""
    )
    assert unnamed == []
    page.context.close()


def test_a_service_plans_and_its_words_come_one_by_one(browser, tmp_path):
    with serving(token_delay_s=0.1) as address, console(tmp_path, *DEMO, "--server", address) as process:
        page = open_page(browser, process.url, "Anna")
        assert address in page.text_content("header")
        page.evaluate(
            """() => {
            window.heard = []; window.shares = [];
            new MutationObserver(() => {
                window.heard.push(document.querySelector('#words').textContent);
                const bar = document.querySelector('#progress');
                if (bar.checkVisibility()) window.shares.push(bar.value);
            }).observe(document.querySelector('#now'), {subtree: true, childList: true, characterData: true,
                attributes: true});
        }"""
        )
        ask(page)
        words = page.text_content("#words")
        heard = set(page.evaluate("window.heard"))
        assert len({one for one in heard if one and words.startswith(one)}) > 2, heard
        assert len(set(page.evaluate("window.shares"))) > 1
        # the fake's words mean nothing to the simulated robot: what became of them is shown
        page.keyboard.press("a")
        wait_for_words(page, "#steps", "no skill is called")
        page.context.close()


def test_a_lost_robot_is_said_in_big_letters_and_comes_back_by_itself(browser, tmp_path):
    with blinking_robot(tmp_path) as process:
        page = open_page(browser, process.url, "Anna")
        ask(page)
        process.cover()
        page.wait_for_selector("#trouble", state="visible")
        wait_for_words(page, "#trouble", "ROBOT LOST: no picture from camera front")
        assert page.is_disabled("#approve")
        assert not page.is_disabled("#hold"), "a hold is always tried"
        page.keyboard.press("a")
        process.uncover()
        page.wait_for_selector("#trouble", state="hidden")
        page.wait_for_selector(CAN_DECIDE)
        assert "approved" not in page.text_content("#journal")
        page.context.close()


def test_who_signed_in_is_who_decided(browser, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"anna {hash_token('a-long-secret')}\n")
    with console(tmp_path, *DEMO, "--tokens", str(tokens)) as process:
        page = open_page(browser, process.url)
        page.fill("#token", "a-guess")
        page.keyboard.press("Enter")
        wait_for_words(page, "[role=alert]", "not known")
        page.fill("#token", "a-long-secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#robot")
        assert page.get_attribute("#operator", "readonly") is not None
        ask(page)
        page.evaluate("document.querySelector('#operator').value = 'somebody else'")
        page.keyboard.press("s")
        wait_for_words(page, "#steps", "skipped by anna")
        # a token that is withdrawn decides nothing more, though the page is still open
        tokens.write_text(f"ben {hash_token('another')}\n")
        page.wait_for_selector(CAN_DECIDE)
        page.keyboard.press("s")
        wait_for_words(page, "#say", "signed out")
        page.context.close()


def test_a_killed_console_leaves_a_session_that_can_be_read_and_replayed(browser, tmp_path):
    with console(tmp_path, *DEMO) as process:
        page = open_page(browser, process.url, "Anna")
        ask(page)
        page.keyboard.press("a")
        wait_for_words(page, "#steps", "approved by Anna")
        page.wait_for_selector("#steps li:nth-child(2)")
        process.kill()
        page.wait_for_selector("#offline", state="visible")
        page.context.close()
        recorded = _newest(process)
    assert recorded.ending is None
    assert read_session(recorded.folder)[-1].look.snapshot.steps[0].decided_by == "Anna"
    with console(tmp_path, "--replay", str(recorded.folder)) as replay:
        page = open_page(browser, replay.url)
        wait_for_words(page, ".banner", "REPLAY")
        wait_for_words(page, "#journal", "Anna")
        page.context.close()


def _newest(process):
    """The newest session, once what is shown has been written."""
    found = list_sessions(process.sessions)
    assert found, json.dumps(process.said)
    return found[0]
