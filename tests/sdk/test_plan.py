"""What is told before a submission, and what then happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from tests.processes import PATIENCE, ControlPlane, h2, wait_until
from zpe_sdk import InputError, ZPEClient, wait_all
from zpe_sdk.client.offers import choose_offered, offers
from zpe_sdk.espresso.concerns import concerns
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.pseudopotentials import Pseudopotential
from zpe_sdk.espresso.render import render_input
from zpe_sdk.wire import Machine, PseudopotentialHeader

PSEUDO = Path("/usr/share/espresso/pseudo")


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """At first there is no worker."""
    return control_plane


@pytest.fixture
def workers(plane: ControlPlane, client: ZPEClient) -> None:
    """One worker with springs, one with pw.x."""
    if not plane.workers:
        plane.worker("springs")
        plane.worker("quantum", ZPE_WORKER_MODE="qe", ZPE_PSEUDO_DIR=PSEUDO, ZPE_TAGS="here")
    wait_until(lambda: sum(machine.takes_work for machine in client.workers.machines()) == 2)


def test_a_plan_of_a_service_without_workers_says_so(client: ZPEClient, plane: ControlPlane) -> None:
    assert not plane.workers
    plan = client.plan(h2())
    assert (plan.machines, plan.detail) == (0, "no worker has enrolled yet")
    assert (plan.scf_seconds, plan.seconds) == (None, None)
    assert "not known" in plan.summary()
    with pytest.raises(InputError, match=r"no worker takes your jobs at present: .* of H ") as caught:
        client.submit(molecule("H2", vacuum=4))
    assert caught.value.field == "pseudopotentials"


@pytest.mark.usefixtures("workers")
def test_a_plan_is_what_then_happens(client: ZPEClient) -> None:
    first = client.submit(h2("an earlier one"), name="earlier", engine="espresso")
    wait_all([first], PATIENCE, progress=False)
    # Another distance: nothing is known of it.
    text = h2().replace("0.75", "0.76")
    plan = client.plan(text, engine="espresso")
    before = client.jobs().total
    assert (plan.scfs, plan.full, plan.known, plan.machines) == (3, 13, 0, 1)
    assert (plan.formula, plan.atoms, plan.mobile_indices) == ("H2", 2, [0, 1])
    assert (plan.space_group, plan.operations) == ("P4/mmm", 16)
    assert plan.scf_seconds is not None
    assert plan.seconds is not None
    assert 0 < plan.seconds[0] <= plan.seconds[1]
    assert plan.similar == 3
    assert "3 similar" in plan.summary()
    assert client.jobs().total == before
    job = client.submit(text, engine="espresso").wait(PATIENCE, progress=False)
    assert job.status().progress.total == plan.scfs
    # What has been computed is known from then on.
    assert client.plan(text, engine="espresso").known == 3
    assert client.plan(text, engine="espresso", calc_mode="new").known == 0
    assert client.plan(text, symmetry=False).scfs == 13
    assert client.plan(text, kind="energy").scfs == 1
    assert client.plan(text, kind="relax", fmax=0.01).relaxes


@pytest.mark.usefixtures("workers")
def test_a_plan_refuses_what_a_submission_would(client: ZPEClient) -> None:
    with pytest.raises(InputError) as caught:
        client.plan(h2().replace("nat = 2", "nat = 3"))
    assert caught.value.field == "ATOMIC_POSITIONS"
    with pytest.raises(TypeError, match="colour"):
        client.plan(h2(), colour="red")  # type: ignore[call-arg]
    plan = client.plan(h2(), requires={"tags": ["bigmem"]})
    assert (plan.machines, plan.detail) == (0, "1 worker, none has the tag bigmem")


@pytest.mark.usefixtures("workers")
def test_without_a_folder_the_machines_offer_pseudopotentials(client: ZPEClient) -> None:
    [springs] = [machine for machine in client.workers.machines() if machine.engine == "mock"]
    [quantum] = [machine for machine in client.workers.machines() if machine.engine == "espresso"]
    assert (springs.name, springs.pseudopotentials) == ("springs", None)
    assert (quantum.name, quantum.tags) == ("quantum", ["here"])
    files = quantum.pseudopotentials or {}
    assert set(files) == {path.name for path in PSEUDO.iterdir() if path.is_file()}
    header = files["O.pbe-kjpaw.UPF"]
    assert header is not None
    assert (header.symbol, header.kind, header.usual) == ("O", "PAW", True)

    found = client.pseudopotentials(["H", "O"])
    assert found["O"][0].machines == ("quantum",)
    assert "H.pbe-kjpaw.UPF" in {offer.file for offer in found["H"]}
    with pytest.raises(InputError, match="Pu") as caught:
        client.pseudopotentials(["H", "Pu"])
    assert caught.value.field == "pseudopotentials"

    water = molecule("H2O", vacuum=4)
    plan = client.plan(water, engine="espresso")
    assert {name[0] for name in plan.pseudopotentials} == {"H", "O"}
    assert plan.machines == 1
    # What is named stays, what is not is completed.
    some = client.plan(water, pseudopotentials={"O": "O.pbe-rrkjus.UPF"}, engine="espresso")
    assert some.pseudopotentials == ["H.pbe-kjpaw.UPF", "O.pbe-rrkjus.UPF"]


def machine(name: str, *files: str, kinds: str = "PAW", takes_work: bool = True) -> Machine:
    headers = {
        file: PseudopotentialHeader(symbol=file.partition(".")[0], kind="PAW", ecutwfc=40, usual=True)
        for file in files
    }
    return Machine(name=name, takes_work=takes_work, engine="espresso", pseudopotentials=dict(headers))


def test_files_are_chosen_that_most_machines_have() -> None:
    machines = [
        machine("one", "H.a.UPF", "O.a.UPF"),
        machine("two", "H.b.UPF", "O.b.UPF"),
        machine("three", "H.b.UPF", "O.b.UPF", "C.b.UPF"),
        machine("away", "H.c.UPF", "N.c.UPF", takes_work=False),
    ]
    chosen = choose_offered(machines, {"H", "O"})
    assert {symbol: file.file for symbol, file in chosen.items()} == {"H": "H.b.UPF", "O": "O.b.UPF"}
    # Never of two machines of which none has all.
    named = choose_offered(machines, {"H", "O"}, {"H": "H.a.UPF"})
    assert named["O"].file == "O.a.UPF"
    assert choose_offered(machines, {"H", "C"})["C"].file == "C.b.UPF"
    assert [offer.file for offer in offers(machines, ["H"])["H"]] == ["H.b.UPF", "H.a.UPF"]
    with pytest.raises(InputError, match="N"):
        choose_offered(machines, {"H", "N"})


PAW = Pseudopotential("X.UPF", "X", "PAW", 45.0, ecutrho=360.0)


def told(atoms: Atoms, **more: object) -> list[str]:
    """Return the concerns about some Atoms, which have enough of everything unless told otherwise."""
    options: dict[str, object] = {"ecutwfc": 50, "ecutrho": 400, "kpts": "gamma"} | more
    files = dict.fromkeys(atoms.get_chemical_symbols(), "X.UPF")
    text = render_input(atoms, pseudopotentials=files, **options)  # type: ignore[arg-type]
    return concerns(PwInput.parse(text), {"X.UPF": PAW})


def test_nothing_is_said_of_what_is_as_it_should_be() -> None:
    assert told(molecule("H2O", vacuum=4)) == []
    assert told(bulk("Si", cubic=True), kpts=(4, 4, 4)) == []
    spins = {"nspin": 2, "tot_magnetization": 2}
    assert told(molecule("O2", vacuum=4, magmoms=None), input_data=spins) == []
    ion = Atoms("OH", [(0, 0, 0), (0, 0, 0.97)], charges=[-1, 0])
    ion.center(vacuum=4)
    assert told(ion, input_data={"tot_charge": -1, "assume_isolated": "mt"}) == []


@pytest.mark.parametrize(
    ("atoms", "more", "word"),
    [
        (molecule("NO", vacuum=4), {}, "odd number of electrons"),
        (molecule("O2", vacuum=4), {}, "unpaired electrons"),
        (bulk("Fe", cubic=True), {"kpts": (8, 8, 8)}, "Fe is often magnetic"),
        (molecule("O2", vacuum=4), {"input_data": {"nspin": 2}}, "no magnetic moment to start from"),
        (molecule("H2O", vacuum=4), {"ecutwfc": 30}, "X.UPF suggests 45 Ry"),
        (molecule("H2O", vacuum=4), {"ecutrho": 200}, "X.UPF suggests 360 Ry"),
        (molecule("H2O", vacuum=4), {"ecutwfc": 100}, "4 times ecutwfc"),
        (molecule("H2O", vacuum=2.5), {}, "5.0 Å of vacuum"),
        (bulk("Si", cubic=True), {}, "1 k-point along a"),
        (molecule("H2O", vacuum=4), {"kpts": (2, 1, 1)}, "2 k-points along a, where nothing repeats"),
        (
            Atoms("Na", cell=(9, 9, 9)),
            {"input_data": {"tot_charge": 1}},
            "assume_isolated",
        ),
    ],
)
def test_an_oversight_is_told_in_a_sentence(atoms: Atoms, more: dict[str, object], word: str) -> None:
    atoms = atoms.copy()
    atoms.set_initial_magnetic_moments(None)
    assert any(word in sentence for sentence in told(atoms, **more))
