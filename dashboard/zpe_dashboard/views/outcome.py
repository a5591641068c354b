"""How a job came out: its energies, the spectrum, the modes and their motions, the files."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.state.jobs import JobInside
from zpe_dashboard.views.molecule import MoleculeView
from zpe_dashboard.views.page import View, heading, warn, warning_box
from zpe_dashboard.views.plots import SpectrumPlot
from zpe_sdk.result.bare import BareResult
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.spectra import is_dark
from zpe_sdk.result.structure import RelaxationResult
from zpe_sdk.result.thermo import gas_thermochemistry
from zpe_sdk.vibrations.modes import wavenumber


class Outcome(View[JobInside]):
    """The part of a job's page that is there once the job has finished."""

    def content(self) -> list[Any]:
        """Return what there is of a result; nothing is seen of it before the job is finished."""
        w = self.words
        facts = self.facts("tiles")
        spectrum = SpectrumPlot(w("Wavenumber / cm⁻¹"), w("Density of modes"), w("IR intensity / (km/mol)"))
        molecule = MoleculeView(w)
        modes = self.table(
            [
                {"key": "mode", "label": w("Mode"), "kind": "number", "align": "right"},
                {"key": "cm", "label": w("Wavenumber / cm⁻¹"), "kind": "text", "align": "right"},
                {"key": "mev", "label": w("Energy / meV"), "kind": "text", "align": "right"},
                {"key": "ir", "label": w("IR intensity / (km/mol)"), "kind": "text", "align": "right"},
                {"key": "irrep", "label": w("Symmetry"), "kind": "text"},
                {"key": "kind", "label": w("Kind"), "kind": "text"},
                {"key": "counted", "label": w("In the ZPE"), "kind": "text"},
                {"key": "show", "label": "", "kind": "actions"},
            ],
            label=w("Modes"),
            empty="",
            on_action=lambda mode, _: molecule.animate(int(mode)),
        )
        warnings = warning_box()
        downloads = self.facts()
        downloads.margin = (12, 0, 0, 0)
        spectral = pmui.Paper(
            pn.pane.Bokeh(spectrum.figure, sizing_mode="stretch_width"),
            elevation=0,
            variant="outlined",
            styles={"flex": "2 1 420px"},
            min_width=280,
            margin=0,
        )
        panes = pn.FlexBox(
            pn.Column(molecule.component, molecule.caption, styles={"flex": "1 1 320px"}, min_width=280),
            spectral,
            gap="12px",
            margin=(12, 0),
            sizing_mode="stretch_width",
        )
        box = pn.Column(
            heading(w("Result")),
            facts,
            warnings,
            panes,
            modes,
            downloads,
            sizing_mode="stretch_width",
            visible=False,
        )

        def draw() -> None:
            finished = self.state.detail is not None and self.state.detail.job.status == "finished"
            result = self.state.result
            box.visible = finished
            vibrates = isinstance(result, ZPEResult)
            for part, shown in (
                (facts, result is not None),
                (panes, result is not None and not isinstance(result, BareResult)),
                (spectral, vibrates),
                (modes, vibrates),
            ):
                part.visible = shown
            if finished:
                files = [("result.json", "JSON"), ("summary.txt", w("Summary")), ("freqs.csv", "CSV")]
                downloads.facts = [
                    {
                        "label": w("Download"),
                        "kind": "download",
                        "big": True,
                        "value": [
                            {"href": f"files/{self.state.job_id}/{name}", "name": name, "text": text}
                            for name, text in files
                        ],
                    }
                ]
            if result is None:
                return
            if isinstance(result, BareResult):
                facts.facts = self._bare(result)
                lacks = w("The worker that computed this sent no {fields}.", fields=", ".join(result.missing))
                warn(warnings, [lacks])
                return
            d = result.document
            mock = [w("MOCK: springs in place of pw.x, no physics")] if d.is_mock else []
            warn(warnings, [*mock, *d.warnings])
            molecule.show(result)
            if not isinstance(result, ZPEResult):
                facts.facts = self._structure(result)
                return
            facts.facts = [
                {
                    "label": w("Zero-point energy"),
                    "value": f"{d.zpe_ev:.6f}",
                    "note": "MOCK, eV" if d.is_mock else "eV",
                    "tone": "main toned",
                },
                *self._heat(result),
                {
                    "label": w("Largest force"),
                    "value": f"{d.max_force_ev_ang:.4f}",
                    "note": w("eV/Å, at the equilibrium"),
                },
            ]
            motions, intensities = result.assignments, result.ir_intensities
            irreps = [irrep or "" for irrep in result.irreps or [""] * len(motions)]
            spectrum.show(
                result.frequencies_cm,
                result.counted,
                result.imaginary,
                intensities=None if is_dark(result) else intensities,
                motions=[
                    f"{irrep}: {motion}" if irrep else motion
                    for irrep, motion in zip(irreps, motions, strict=True)
                ],
            )
            modes.rows = [
                {
                    "id": str(k),
                    "mode": k,
                    "name": w("mode {n}", n=k),
                    "cm": wavenumber(cm, 2),
                    "mev": wavenumber(1000 * float(energy), 2),
                    "ir": "" if intensities is None else f"{intensities[k]:.1f}",
                    "irrep": irreps[k],
                    "kind": w(kind),
                    "counted": w("yes") if counts else w("no"),
                    "show": [{"id": "show", "text": w("Animate")}],
                }
                for k, (cm, energy, kind, counts) in enumerate(
                    zip(d.freqs_cm, result.energies_ev, d.mode_kinds, result.counted, strict=True)
                )
            ]

        self.watch(draw, "result", "detail")
        return [box]

    def _heat(self, result: ZPEResult) -> list[dict[str, Any]]:
        """Return entropy, heat capacity and energies: of a free molecule those of its gas."""
        w, d = self.words, result.document
        gas = gas_thermochemistry(result, d.temperature)
        if gas is None:
            where = f"J/(mol K), {d.temperature:g} K"
            entropy, capacity, free = d.s_vib_jmol_k, d.cv_jmol_k, d.f_vib_ev
            energy, note = (w("Internal energy"), d.u_vib_ev), "eV, U − TS"
        else:
            where = w("J/(mol K), gas at {kelvin} K, 1 bar", kelvin=f"{d.temperature:g}")
            entropy, capacity, free = gas.entropy_jmol_k, gas.heat_capacity_jmol_k, gas.free_energy_ev
            energy, note = (w("Enthalpy"), gas.enthalpy_ev), "eV, H − TS"
        return [
            {"label": w("Entropy"), "value": f"{entropy:.3f}", "note": where},
            {
                "label": w("Heat capacity"),
                "value": f"{capacity:.3f}",
                "note": f"J/(mol K), {'Cv' if gas is None else 'Cp'}",
            },
            {"label": energy[0], "value": f"{energy[1]:.6f}", "note": w("eV, with the ZPE")},
            {"label": w("Free energy"), "value": f"{free:.6f}", "note": note},
        ]

    def _bare(self, result: BareResult) -> list[dict[str, Any]]:
        """Return what there is to say of a result without Hessian and modes."""
        w, d = self.words, result.document
        return [
            {
                "label": w("Zero-point energy"),
                "value": f"{d.zpe_ev:.6f}",
                "note": "eV",
                "tone": "main toned",
            },
            {
                "label": w("Entropy"),
                "value": f"{d.s_vib_jmol_k:.3f}",
                "note": "J/(mol K)" if d.temperature is None else f"J/(mol K), {d.temperature:g} K",
            },
        ]

    def _structure(self, result: Any) -> list[dict[str, Any]]:
        """Return what there is to say of a structure with its energy."""
        w, d = self.words, result.document
        found = [
            {
                "label": w("Energy"),
                "value": f"{d.energy_ev:.6f}",
                "note": "MOCK, eV" if d.is_mock else "eV",
                "tone": "main toned",
            },
            {"label": w("Largest force"), "value": f"{d.max_force_ev_ang:.4f}", "note": "eV/Å"},
        ]
        if isinstance(result, RelaxationResult):
            steps = d.relaxation.steps
            found.append({"label": w("Ionic steps"), "value": str(len(steps))})
            gained = d.energy_ev - steps[0].energy_ev
            found.append({"label": w("Energy gained"), "value": f"{gained:.4f}", "note": "eV"})
        return found
