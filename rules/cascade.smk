# The nets of the cascade, one job per patient and seed: the complex model alone (EXP-C0), the cascade in stages
# (EXP-C3), its evaluation (EXP-C6).
C0 = "<results>/EXP-C0-baseline/seed{seed}/{patient}"
C3 = "<results>/EXP-C3-stages/seed{seed}/{patient}"
C6 = "<results>/EXP-C6-evaluate/seed{seed}/{patient}"
TRAINED = ["cost", "history", "metrics", "predictions"]


rule train_cascade_baseline:
    input:
        config="<results>/EXP-C0-baseline/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
    output:
        model=f"{C0}/model.safetensors",
        tables=expand(f"{C0}/{{table}}.parquet", table=TRAINED, allow_missing=True),
    log:
        f"{C0}/log.txt",
    benchmark:
        f"{C0}/benchmark.jsonl"
    conda:
        ENVIRONMENT
    threads: CASCADE_DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
        gpu=PRESET.gpus,
    params:
        code=sources_digest("pipeline.cascade.cascade_training"),
        out=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m scripts.train_cascade_baseline --cfg {input.config:q} --patient {wildcards.patient:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule main_swec_cascade:
    input:
        config="<results>/EXP-C3-stages/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
        decision="<results>/EXP-C2-decide/seed{seed}/decision.json",
    output:
        model=f"{C3}/model.safetensors",
        manifest=f"{C3}/cascade.json",
        tables=expand(
            f"{C3}/{{table}}.parquet",
            table=[*TRAINED, "calibration"],
            allow_missing=True,
        ),
    log:
        f"{C3}/log.txt",
    benchmark:
        f"{C3}/benchmark.jsonl"
    conda:
        ENVIRONMENT
    threads: CASCADE_DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
        gpu=PRESET.gpus,
    params:
        code=sources_digest("pipeline.cascade.cascade_training"),
        out=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m scripts.main_swec_cascade --cfg {input.config:q} --patient {wildcards.patient:q}"
        " --decision {input.decision:q} --out {params.out:q} > {log:q} 2>&1"


rule evaluate_cascade:
    input:
        config="<results>/EXP-C6-evaluate/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
        baseline=f"{C0}/predictions.parquet",
        cascade=f"{C3}/predictions.parquet",
        manifest=f"{C3}/cascade.json",
    output:
        tables=expand(
            f"{C6}/{{table}}.parquet",
            table=[
                "metrics",
                "events",
                "electrodes",
                "risk_coverage",
                "test_predictions",
            ],
            allow_missing=True,
        ),
    log:
        f"{C6}/log.txt",
    benchmark:
        f"{C6}/benchmark.jsonl"
    conda:
        ENVIRONMENT
    threads: CASCADE_DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
    params:
        code=sources_digest("pipeline.cascade.evaluation"),
        out=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m scripts.evaluate_cascade --cfg {input.config:q} --patient {wildcards.patient:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule pool_cascade:
    input:
        config="<results>/EXP-C6-evaluate/seed{seed}/config.yaml",
        tables=of_patients(f"{C6}/metrics.parquet"),
    output:
        metrics="<results>/EXP-C6-evaluate/seed{seed}/metrics.parquet",
    log:
        "<results>/EXP-C6-evaluate/seed{seed}/log.txt",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.cascade.evaluation"),
        out=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m scripts.evaluate_cascade --cfg {input.config:q} --pool --out {params.out:q} > {log:q} 2>&1"


rule join_patients:
    input:
        tables=of_patients("<results>/{cascade}/seed{seed}/{patient}/metrics.parquet"),
    output:
        metrics="<results>/{cascade}/seed{seed}/metrics.parquet",
    log:
        "<results>/logs/join_patients/{cascade}-seed{seed}.log",
    wildcard_constraints:
        cascade="|".join(
            ["EXP-C0-baseline", "EXP-C3-stages", "EXP-C5-export-verify", *QUANTISED]
        ),
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.artifacts"),
    shell:
        "python -m scripts.join_seeds --out {output.metrics:q} {input.tables:q} > {log:q} 2>&1"
