"""Hostile answers: each within its time limit, none running anything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tofu_eval.core.types import Prompt
from tofu_eval.features.answers import VERIFIERS, algebra, mathematics
from tofu_eval.features.answers.algebra import Algebra, Supervisor
from tofu_eval.features.answers.find import LONGEST
from tofu_eval.features.answers.plain import lone_number, number, strip_dress, without_unit, words
from tofu_eval.metrics import METRICS

PROMPT = Prompt.of_text("p", "How many?")
MATH = VERIFIERS.get("math")
CPU = 1
SLACK = 15.0
"""Seconds that starting the processes and a busy machine may add."""

HERE = str(Path(__file__).parent)
CANARY = "CANARY"
DEEP = 2000
MIB = 2**20


def boxed(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


CODE = [
    "__import__('os').system('touch CANARY')",
    "__import__('pathlib').Path('CANARY').touch()",
    "open('CANARY','w').write('x')",
    "exec(\"open('CANARY','w')\")",
    "eval(\"open('CANARY','w')\")",
    "().__class__.__base__.__subclasses__()",
    "[c for c in ().__class__.__base__.__subclasses__()][0]",
    'S(\'open("CANARY","w")\')',
    "lambda: open('CANARY','w')",
    "getattr(__builtins__,'open')('CANARY','w')",
    "Symbol('x').func.__globals__['__builtins__']['open']('CANARY','w')",
    "import os; os.system('touch CANARY')",
    "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
    "`touch CANARY`",
    "$(touch CANARY)",
    r"\input{|'touch CANARY'}",
    r"\write18{touch CANARY}",
    r"\immediate\write18{touch CANARY}",
    r"\text{__import__('os').system('touch CANARY')}",
    r"\operatorname{__import__('os').system('touch CANARY')}",
    r"\mathrm{open('CANARY','w')}",
    r"x_{__import__('os').system('touch CANARY')}",
    r"\frac{open('CANARY','w')}{2}",
    "!!python/object/apply:os.system ['touch CANARY']",
    "cos\nsystem\n(S'touch CANARY'\ntR.",
]
SLOW = [
    boxed("9^{9^{9^{9^{9}}}}"),
    boxed("9**9**9**9"),
    boxed("10^{10^{10}}"),
    boxed("99999999!"),
    boxed(r"(2^{99999999})!"),
    boxed(r"\binom{99999999}{49999999}"),
    boxed(r"\sum_{k=1}^{99999999} \frac{1}{k!}"),
    boxed(r"\prod_{k=1}^{9999999} k"),
    boxed(r"\int_0^1 \int_0^x \sin(\sin(\sin(y^y)))^{99} dy dx"),
    boxed("(x+y+z)^{500}"),
    boxed("(((x+1)^{99}+1)^{99}+1)^{99}"),
    boxed(r"\begin{pmatrix}" + r"1&2\\" * 120 + r"\end{pmatrix}^{99999}"),
    boxed(r"\sqrt{" * 100 + "2" + "}" * 100),
    boxed(r"\lim_{x\to 0} \frac{\sin(x^{99})}{x^{98}\tan(x^{77})}"),
    boxed("x^{99}+x^{98}y^{3}-17=0"),
    boxed("1e99999999"),
    boxed("1" * 999),
    boxed("0." + "3" * 900),
    boxed("(" * 400 + "1" + ")" * 400),
    boxed("-" * 900 + "1"),
    boxed(r"\frac" * 150 + "12"),
    boxed("1," * 450 + "1"),
    boxed(r"\{" * 300 + r"\}" * 300),
]


def make_long(size: int) -> list[str]:
    """Texts of about so many bytes."""
    return [
        "{" * size,
        "}" * size,
        r"\boxed{" * (size // 7),
        r"\boxed{" * (size // 14) + "}" * (size // 14),
        boxed("{" * (size // 2) + "}" * (size // 2)),
        "\\" * size,
        "#" * size,
        "####" + " " * size,
        "9" * size,
        "1," * (size // 2),
        "1/" * (size // 2),
        "-" * size,
        "$" * size,
        "the answer is " * (size // 14),
        "answer" + " " * size + "is 5",
        "answer: " + "$" * size,
        " " * size,
        "1 " * (size // 2),
        "\x00" * size,
        "\U0001f600" * (size // 4),
        "\ud800 answer: \udfff",
    ]


LONG = make_long(MIB)
SHORTER = make_long(MIB // 4)
"""Long enough for what is not linear to take minutes."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the comparing processes live, for canaries; with their own limit."""
    folder, before = tmp_path_factory.mktemp("hostile"), Path.cwd()
    os.chdir(folder)
    own = Algebra(cpu_seconds=CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mathematics, "algebra", lambda: own)
        own.equal([("x", "y")])  # started here
        yield folder
    own.close()
    os.chdir(before)


def test_there_are_many() -> None:
    assert len(CODE) + len(SLOW) + len(LONG) >= 40
    assert len({*CODE, *SLOW, *LONG}) == len(CODE) + len(SLOW) + len(LONG)


@pytest.mark.parametrize("code", CODE, ids=range(len(CODE)))
@pytest.mark.parametrize(
    "dress", [boxed, "The answer is {}".format, "${}$".format, "#### {}".format]
)
def test_nothing_is_run(here: Path, code: str, dress: Callable[[str], str]) -> None:
    told = answered(dress(code))
    assert told in (False, None)
    assert list(here.iterdir()) == []
    # Past the rules of extraction too, straight into the parser, on either side.
    found = mathematics.algebra().equal([(code, "x+1"), ("x+1", code)])
    assert True not in found
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    # Those that end at the limit of time alone cost two seconds each; some of them are enough here.
    [pytest.param(text, marks=[pytest.mark.slow] * (3 <= i <= 7)) for i, text in enumerate(SLOW)],
    ids=range(len(SLOW)),
)
def test_what_takes_for_ever_is_ended(here: Path, text: str) -> None:
    start = time.monotonic()
    assert answered(text) in (False, None)
    assert time.monotonic() - start < CPU + SLACK


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_megabytes_take_linear_time(here: Path, text: str) -> None:
    start = time.process_time()
    assert answered(text) in (False, None)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("text", SHORTER, ids=range(len(SHORTER)))
@pytest.mark.parametrize("name", ["choice", "text"])
def test_the_other_verifiers_take_linear_time_too(name: str, text: str) -> None:
    start = time.process_time()
    for dressed in (text, boxed(text), f"answer: {text}", f"answer is{text}"):
        answer = VERIFIERS.get(name).find(PROMPT, dressed)
        assert answer is None or len(answer) <= LONGEST
    assert time.process_time() - start < 6


@pytest.mark.parametrize(
    "text", [*SHORTER, "." * MIB, '."' * (MIB // 2)], ids=range(len(SHORTER) + 2)
)
def test_metrics_of_texts_take_linear_time_too(text: str) -> None:
    start = time.process_time()
    asked = Prompt.of_text("p", "In three sentences of at most 50 words.")
    for dressed in (text, f"I'm{text}"):
        METRICS.get("refusal_rate")([dressed])
        METRICS.get("attack_success_rate")([dressed])
        METRICS.get("constraint_satisfaction")([dressed], asked)
    assert time.process_time() - start < 6


REPEATED = [
    *("-", "a-", "a ", "a, ", "1 ", "1,", "1/", " ", ".", "a.", "'", "$", "^", "^2", "("),
    *(r"\text{a}", r"\frac", "a/", "1a", "1 a", "1 a/"),
]


@pytest.mark.parametrize("piece", REPEATED)
def test_comparing_texts_takes_no_exponential_time(piece: str) -> None:
    start = time.process_time()
    for before, after in (("", ""), ("a", "%"), ("1", "%"), ("1 ", "a%"), ("a", "\n")):
        text = strip_dress((before + piece * 500)[:990] + after)
        words(text)
        number(text)
        without_unit(text)
        lone_number(text)
    assert time.process_time() - start < 3


def answered(text: str) -> bool | None:
    answer = MATH.find(PROMPT, text)
    if answer is None:
        return None
    (told,) = MATH.equal([(answer, r"\frac{17}{4}x")])
    return told


def test_after_a_kill_the_next_answer_is_told(here: Path) -> None:
    own = mathematics.algebra()
    pid = own._remote.pid
    assert own.equal([("9^{9^{9^{9}}}!", "x+1"), (r"\sqrt{8}", r"2\sqrt{2}")]) == [None, True]
    assert own._remote.pid == pid  # the second process stays; only the third is another


# The walls themselves: the third process is made to attack


def touch() -> None:
    Path(CANARY).touch()


def write() -> None:
    Path(CANARY).write_text("x", "utf-8")


def evaluate() -> None:
    eval("open('CANARY', 'w').close()")


def execute() -> None:
    exec("open('CANARY', 'w').close()")


def shell() -> None:
    os.system("touch CANARY")


def start() -> None:
    subprocess.run(["touch", CANARY], check=True)


def fork() -> None:
    if os.fork() == 0:
        Path(CANARY).touch()
        os._exit(0)


def sympify() -> None:
    from sympy import sympify

    sympify("__import__('pathlib').Path('CANARY').touch()")


ATTACKS = [touch, write, evaluate, execute, shell, start, fork, sympify]


IN_A_THIRD_PROCESS = """
import sys
from test_hostile import *
supervisor = Supervisor(2, 10.0)
for name in sys.argv[1:]:
    algebra._verify_equal = lambda *_: (globals()[name](), True)[1]
    print(name, supervisor.compare([("1", "2")]), Path(CANARY).exists())
    Path(CANARY).unlink(missing_ok=True)
"""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A line an attack: its name, the verdict that came back, whether there is a canary."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_THIRD_PROCESS, *(attack.__name__ for attack in ATTACKS)],
        env={**os.environ, "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"},
        cwd=tmp_path_factory.mktemp("attacked"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("walls", [True, False])
def test_the_walls_hold(
    attack: Callable[[], None],
    walls: bool,
    attacked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the walls there is no canary; without them there is, so that the attacks are real."""
    if walls:
        assert f"{attack.__name__} [None] False" in attacked
        return
    monkeypatch.chdir(tmp_path)
    attack()
    time.sleep(0.2)
    assert (tmp_path / CANARY).exists()


def test_the_comparing_process_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    monkeypatch.setattr(algebra, "_warm", lambda: None)
    monkeypatch.setattr(algebra, "_verify_equal", lambda *_: "A_SECRET" in os.environ)
    supervisor = Supervisor(2, 10.0)
    assert supervisor.compare([("1", "2")]) == [False]
    supervisor._end()


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algebra, "_warm", lambda: None)
    monkeypatch.setattr(algebra, "_verify_equal", lambda *_: bool(bytearray(3 * 2**30)))
    supervisor = Supervisor(2, 10.0)
    assert supervisor.compare([("1", "2")]) == [None]
    supervisor._end()
