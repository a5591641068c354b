"""Zero-point energies of thirty small molecules. Run it again, and it goes on where it was."""

from ase.build import molecule

from zpe_sdk import ZPEClient

NAMES = """H2 N2 CO CO2 N2O O3 H2O H2O2 NH3 N2H4 CH4 C2H2 C2H4 H2CO CH3OH HCOOH OCHCHO H2CCO HCN NCCN CH3CN
CH2_s1A1d O2 NH OH NO CH3 NH2 HCO CN"""

project = ZPEClient().project("screening")
project.submit_many({name: molecule(name, vacuum=2.5) for name in NAMES.split()}, ecutwfc=20, ecutrho=120)
project.wait()
table = project.table()
table.to_csv("screening.csv")
axes = table.zpe_ev.dropna().sort_values().plot.barh(figsize=(6, 8), xlabel="zero-point energy / eV")
axes.figure.savefig("screening.png", bbox_inches="tight")
