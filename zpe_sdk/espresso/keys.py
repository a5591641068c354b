"""The keys of pw.x's namelists, and which versions of pw.x have each.

From the NAMELIST statements of Quantum ESPRESSO 6.0 to 7.5 (Modules/input_parameters.f90): a key that stands
in none of them makes the Fortran runtime give up the whole namelist. That a version reads a key does not say
that it still acts on it: from 7.1 on pw.x reads ``lda_plus_u`` only to refuse it.
"""

from __future__ import annotations

import difflib

OLDEST, NEWEST = "6.0", "7.5"

_ALWAYS = {
    "control": """
        calculation dipfield disk_io dt ekin_conv_thr etot_conv_thr forc_conv_thr gdir
        input_xml_schema_file iprint isave lberry lecrpa lelfield lorbm max_seconds memory nberrycyc
        ndr ndw nppstr nstep outdir point_label_type prefix pseudo_dir refg restart_mode saverho
        tabps tefield tefield2 title tprnfor tqmmm tstress use_wannier vdw_table_name verbosity
        wf_collect wfcdir
    """,
    "system": """
        a a_pen alpha_pen angle1 angle2 assume_isolated b b_field block block_1 block_2 block_height
        c celldm constrained_magnetization cosab cosac cosbc degauss eamp ecfixed ecutfock ecutrho
        ecutvcut ecutwfc edir emaxpos eopreg esm_a esm_bc esm_debug esm_debug_gpmax esm_efield
        esm_nfit esm_w esm_zb exx_fraction exxdiv_treatment fixed_magnetization force_pairing
        force_symmorphic hubbard_alpha hubbard_beta hubbard_j hubbard_j0 hubbard_u ibrav input_dft
        la2f lambda lda_plus_u lda_plus_u_kind lforcet london london_c6 london_rcut london_rvdw
        london_s6 lspinorb nat nbnd no_t_rev noinv noncolin nosym nosym_evc nqx1 nqx2 nqx3 nr1 nr1b
        nr1s nr2 nr2b nr2s nr3 nr3b nr3s nspin ntyp occupations one_atom_occupations origin_choice
        q2sigma qcutz ref_alat relaxz report rhombohedral screening_parameter sic sic_alpha
        sic_epsilon sigma_pen smearing space_group starting_magnetization starting_ns_eigenvalue
        starting_spin_angle step_pen tot_charge tot_magnetization ts_vdw ts_vdw_econv_thr
        ts_vdw_isolated u_projection_type uniqueb use_all_frac vdw_corr x_gamma_extrapolation xdm
        xdm_a1 xdm_a2 yukawa
    """,
    "electrons": """
        adaptive_thr ampre conv_thr conv_thr_init conv_thr_multi diago_cg_maxiter diago_david_ndim
        diago_full_acc diago_thr_init diagonalization diis_achmix diis_chguess diis_delt diis_ethr
        diis_fthr diis_g0chmix diis_g1chmix diis_hcut diis_maxstep diis_nchmix diis_nreset diis_nrot
        diis_rot diis_rothr diis_size diis_temp diis_wthr dt_emin efield efield2 efield_cart
        efield_phase ekincw electron_damping electron_damping_emin electron_dynamics
        electron_maxstep electron_temperature electron_velocities emass emass_cutoff
        emass_cutoff_emin emass_emin epol epol2 etresh fermi_energy fnosee grease lambda_cold
        maxiter mixing_beta mixing_fixed_ns mixing_mode mixing_ndim n_inner niter_cg_restart
        niter_cold_restart occmass occupation_constraints occupation_damping occupation_dynamics
        ortho_eps ortho_max orthogonalization passop real_space rotation_damping rotation_dynamics
        rotmass scf_must_converge startingpot startingwfc tbeta_smoothing tcg tcpbo tq_smoothing tqr
    """,
    "ions": """
        amprp bfgs_ndim delta_t fnhscl fnosep greasp iesr ion_damping ion_dynamics ion_maxstep
        ion_nstepe ion_positions ion_radius ion_temperature ion_velocities ndega nhgrp nhpcl nhptyp
        nraise pot_extrapolation refold_pos remove_rigid_rot tempw tolp tranp trust_radius_ini
        trust_radius_max trust_radius_min upscale w_1 w_2 wfc_extrapolation
    """,
    "cell": """
        cell_damping cell_dofree cell_dynamics cell_factor cell_nstepe cell_parameters
        cell_temperature cell_velocities fnoseh greash press press_conv_thr temph wmass
    """,
}
# Namelist, first version with the key (None: 6.0 or earlier), last version with it (None: 7.5 still has it).
_SOMETIMES: tuple[tuple[str, str | None, str | None, str], ...] = (
    ("control", None, "6.1", "monopole"),
    ("control", None, "6.7", "lfcpdyn lfcpopt lkpoint_dir"),
    ("control", "6.2", None, "gate"),
    ("control", "6.8", None, "lfcp"),
    ("control", "7.1", None, "trism"),
    ("control", "7.2", None, "twochem"),
    ("control", "7.4", None, "symmetry_with_labels use_spinflip"),
    ("system", None, "6.1", "zmon"),
    ("system", None, "6.7", "fcp_mass fcp_mu fcp_relax_crit fcp_relax_step fcp_tempw"),
    ("system", None, "7.1", "spline_ps"),
    ("system", "6.2", "6.2", "dftd3_alp dftd3_rs18 dftd3_rs6 dftd3_s18 dftd3_s6"),
    ("system", "6.2", "6.7", "fcp_mdiis_size fcp_mdiis_step fcp_relax"),
    ("system", "6.2", None, "ace dftd3_version localization_thr scdm scdmden scdmgrd starting_charge zgate"),
    ("system", "6.3", None, "dftd3_threebody n_proj"),
    ("system", "6.4", None, "nscdm"),
    ("system", "6.6", "7.0", "backall l1back lback"),
    (
        "system",
        "6.6",
        None,
        """
        hub_pot_fix hubbard_alpha_back hubbard_parameters hubbard_u_back hubbard_v reserv
        reserv_back
        """,
    ),
    (
        "system",
        "6.8",
        None,
        """
        gcscf_beta gcscf_conv_thr gcscf_gh gcscf_gk gcscf_ignore_mun gcscf_mu lgcscf mbd_vdw
        """,
    ),
    ("system", "7.0", None, "dmft dmft_prefix"),
    ("system", "7.1", None, "hubbard_occ"),
    (
        "system",
        "7.2",
        None,
        """
        degauss_cond nbnd_cond nelec_cond nextffield pol_type sci_cb sci_vb sic_energy sic_gamma
        """,
    ),
    ("system", "7.5", None, "orbital_resolved"),
    ("electrons", "7.0", None, "diago_gs_nblock diago_rmm_conv diago_rmm_ndim pre_state"),
    ("electrons", "7.2", None, "exx_maxstep"),
    ("ions", None, "6.7", "l_exit_muller l_mplathe n_muller np_muller"),
    ("ions", "7.0", None, "fire_alpha_init fire_dtmax fire_f_dec fire_f_inc fire_falpha fire_nmin"),
    ("ions", "7.4.1", None, "tgdiis_step"),
    ("cell", "6.4", None, "treinit_gvecs"),
    (
        "fcp",
        "6.8",
        None,
        """
        fcp_conv_thr fcp_delta_t fcp_dynamics fcp_mass fcp_mu fcp_ndiis fcp_nraise fcp_rdiis
        fcp_temperature fcp_tempw fcp_tolp fcp_velocity freeze_all_atoms
        """,
    ),
    (
        "rism",
        "7.1",
        None,
        """
        closure ecutsolv laue_both_hands laue_buffer_left laue_buffer_left_solu
        laue_buffer_left_solv laue_buffer_right laue_buffer_right_solu laue_buffer_right_solv
        laue_expand_left laue_expand_right laue_nfit laue_reference laue_starting_left
        laue_starting_right laue_wall laue_wall_epsilon laue_wall_lj6 laue_wall_rho laue_wall_sigma
        laue_wall_z mdiis1d_size mdiis1d_step mdiis3d_size mdiis3d_step nsolv rism1d_bond_width
        rism1d_conv_thr rism1d_dielectric rism1d_maxstep rism1d_molesize rism1d_nproc
        rism1d_nproc_switch rism3d_conv_level rism3d_conv_thr rism3d_maxstep rism3d_planar_average
        rmax1d rmax_lj smear1d smear3d solute_epsilon solute_lj solute_sigma starting1d starting3d
        tempv
        """,
    ),
)

_KEYS: dict[str, dict[str, tuple[str | None, str | None]]] = {
    namelist: dict.fromkeys(keys.split(), (None, None)) for namelist, keys in _ALWAYS.items()
}
for _namelist, _first, _last, _names in _SOMETIMES:
    _KEYS.setdefault(_namelist, {}).update(dict.fromkeys(_names.split(), (_first, _last)))


def versions_of(namelist: str, key: str) -> tuple[str | None, str | None] | None:
    """Return the first and the last version of pw.x that has a key.

    Parameters
    ----------
    namelist, key
        Names in lower case, the key without subscript.

    Returns
    -------
    tuple or None
        Such as ``("7.1", None)``. None in the first place: all versions from :data:`OLDEST` on had it; in the
        second: :data:`NEWEST` still has it. None alone: no version knows the key.
    """
    return _KEYS.get(namelist, {}).get(key)


def namelist_of(key: str) -> str | None:
    """Return the namelist that a key belongs to, or None if no namelist has it."""
    return next((namelist for namelist, keys in _KEYS.items() if key in keys), None)


def nearest(namelist: str, key: str) -> str | None:
    """Return the key of a namelist that is spelt most like a given one, or None if none comes near."""
    return next(iter(difflib.get_close_matches(key, _KEYS.get(namelist, ()), n=1, cutoff=0.6)), None)
