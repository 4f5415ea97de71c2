# Table of contents. `snakemake --cores all` makes everything below from generated clips with sound;
# `snakemake --cores all EXP-P1V-1-dense-multiscale` makes one experiment and what it needs.
from snakemake.utils import min_version

min_version("9.20")


configfile: workflow.source_path("configs/workflow.yaml")


include: "rules/common.smk"


pathvars:
    results=RESULTS,
    data=DATA_ROOT,
    swec=CASCADE_DEFAULTS.data.root,


report: "workflow/report/workflow.rst"


include: "rules/data.smk"
include: "rules/proxy.smk"
include: "rules/phase1.smk"
include: "rules/version_c.smk"
include: "rules/cascade_data.smk"
include: "rules/cascade.smk"
include: "rules/quantised.smk"
include: "rules/report.smk"
include: "rules/targets.smk"


rule all:
    default_target: True
    input:
        joined_metrics(EXPERIMENTS),
        joined_metrics(CASCADE),
        rules.make_report.output.page,


onstart:
    print(
        f"preset {SETTINGS.preset}: {len(EXPERIMENTS)} experiments, data {DATA_ROOT}",
        file=sys.stderr,
    )
    hold_run_lock()
    wake_scheduler_for_news_only(workflow)
    watch_in_background([RESULTS, DATA_ROOT], sys.stderr)


onsuccess:
    print(success_summary(RESULTS), file=sys.stderr)


onerror:
    print(failure_summary(log[0]), file=sys.stderr)
