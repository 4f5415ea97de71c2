# The page a reader opens, and a target for every experiment, phase and stage.
rule make_report:
    input:
        metrics=joined_metrics(EXPERIMENTS),
        runs=run_tables(EXPERIMENTS),
        proxies=list(proxy_metrics().values()),
        hardware=rules.predict_hardware.output,
        cascade=joined_metrics(CASCADE),
        templates=TEMPLATES,
    output:
        page=report(
            directory("<results>/report"),
            htmlindex="index.html",
            caption="../workflow/report/page.rst",
            category="Report",
            labels={"page": "everything", "preset": SETTINGS.preset},
        ),
    log:
        "<results>/logs/make_report.log",
    benchmark:
        "<results>/benchmarks/make_report.jsonl"
    conda:
        ENVIRONMENT
    threads: 2
    params:
        code=sources_digest("pipeline.report.page"),
        preset=SETTINGS.preset,
        # Variants are shown where they were run, but a report never asks for them.
        variants=finished_variants(),
        results=lambda wildcards, output: str(Path(output.page).parent),
    shell:
        "python -m scripts.make_report --preset {params.preset} --results {params.results:q} --out {output.page:q} > {log:q} 2>&1"
