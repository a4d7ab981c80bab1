"""`doctor`: the raw data set -> doctor.html and doctor.json, which tell all that is wrong with it, or odd. Never imports torch."""

from pathlib import Path

from seg.core.errors import DataError, plural
from seg.doctor.page import DoctorPage, write_doctor
from seg.prepare.assignment import Assignment
from seg.prepare.checks.check import Diagnosis, write_diagnosis
from seg.prepare.run import Examination, examine
from seg.raw.record import counted, finding_of
from seg.runtime.cluster import engine_of
from seg.stages.prepare import Settings, print_findings, source_of


def run(cfg: Settings, out: Path) -> None:
    source, classes, root = source_of(cfg, corrected=True)
    try:
        with engine_of(cfg.runtime.engine, cfg.runtime.address) as engine:
            how = (cfg.runtime.workers, cfg.runtime.progress, None, "files", engine)
            examination = examine(source, classes, Assignment.of(cfg.data), root, *how)
    except DataError as error:  # of the layout as a whole
        examination = Examination([], Diagnosis([finding_of(error)], {}), {})
    diagnosis = examination.diagnosis
    out.mkdir(parents=True, exist_ok=True)
    write_diagnosis(out / "doctor.json", diagnosis, classes, root)
    page = out / "doctor.html"
    write_doctor(page, DoctorPage(examination.items, source, classes, cfg.data.name, root, diagnosis))
    print_findings(diagnosis.findings)
    print(f"see {page}")
    if diagnosis.errors:
        raise DataError(f"{plural(len(diagnosis.errors), 'error')} ({counted(diagnosis.errors)}): see {page}")
    print(f"no errors, {plural(len(diagnosis.warnings), 'warning')}")
