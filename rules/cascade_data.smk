# Recordings -> windows, per patient; then what they tell (EXP-C1) and which simple model goes first (EXP-C2).
RAW_IEEG = SETTINGS.raw_ieeg_root or f"{RESULTS}/data/raw_swec/recordings"
DEMO_TRUTH = "<results>/data/raw_swec/truth/{patient}.parquet"


rule make_demo_ieeg:
    output:
        truth=DEMO_TRUTH,
    log:
        "<results>/logs/make_demo_ieeg-{patient}.log",
    benchmark:
        "<results>/benchmarks/make_demo_ieeg-{patient}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.demo_ieeg"),
        demo=CASCADE_DEFAULTS.demo.model_dump(),
        preset=SETTINGS.preset,
        out=lambda wildcards, output: str(Path(output.truth).parents[1]),
    shell:
        "python -m scripts.make_demo_ieeg --preset {params.preset} --out {params.out:q}"
        " --patient {wildcards.patient:q} > {log:q} 2>&1"


rule join_demo_ieeg:
    input:
        parts=of_patients(DEMO_TRUTH),
    output:
        truth="<results>/data/raw_swec/truth.parquet",
    log:
        "<results>/logs/join_demo_ieeg.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.demo_ieeg"),
        preset=SETTINGS.preset,
        out=lambda wildcards, output: str(Path(output.truth).parent),
    shell:
        "python -m scripts.make_demo_ieeg --preset {params.preset} --out {params.out:q} --join > {log:q} 2>&1"


rule build_ieeg_windows:
    input:
        raw=[] if HAS_RECORDINGS else DEMO_TRUTH,
        cfg=CASCADE_CONFIG,
    output:
        tables=expand(
            "<swec>/patients/{{patient}}/{table}.parquet",
            table=["annotations", "channels", "index", "recordings"],
        ),
    log:
        "<results>/logs/build_ieeg_windows-{patient}.log",
    benchmark:
        "<results>/benchmarks/build_ieeg_windows-{patient}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.swec"),
        data=CASCADE_DEFAULTS.data.model_dump(),
        listing=RECORDINGS_LISTING,
        preset=SETTINGS.preset,
        settings=cascade_assignments(),
    shell:
        "python -m scripts.build_ieeg_windows --cfg {input.cfg:q} --preset {params.preset} {params.settings}"
        " --patient {wildcards.patient:q} > {log:q} 2>&1"


rule join_ieeg_windows:
    input:
        parts=of_patients("<swec>/patients/{patient}/index.parquet"),
        truth=[] if HAS_RECORDINGS else "<results>/data/raw_swec/truth.parquet",
        cfg=CASCADE_CONFIG,
    output:
        tables=expand(
            "<swec>/{table}.parquet",
            table=["annotations", "channels", "index", "recordings"],
        ),
    log:
        "<results>/logs/join_ieeg_windows.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.swec"),
        preset=SETTINGS.preset,
        settings=cascade_assignments(),
    shell:
        "python -m scripts.build_ieeg_windows --cfg {input.cfg:q} --preset {params.preset} {params.settings}"
        " --join > {log:q} 2>&1"


rule resolve_cascade_config:
    output:
        config="<results>/{cascade}/seed{seed}/config.yaml",
    log:
        "<results>/logs/resolve_config/{cascade}-seed{seed}.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.experiments"),
        merged=lambda wildcards: resolved_cascade(wildcards).model_dump(),
        preset=SETTINGS.preset,
        settings=cascade_assignments(),
    shell:
        "python -m scripts.resolve_config --preset {params.preset} --experiment {wildcards.cascade}"
        " --seed {wildcards.seed} --out {output.config:q} {params.settings} > {log:q} 2>&1"


rule analyse_recordings:
    input:
        config="<results>/EXP-C1-analysis/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
        baseline=of_patients(
            "<results>/EXP-C0-baseline/seed{seed}/{patient}/predictions.parquet"
        ),
    output:
        metrics="<results>/EXP-C1-analysis/seed{seed}/metrics.parquet",
        tables=directory("<results>/EXP-C1-analysis/seed{seed}/tables"),
    log:
        "<results>/EXP-C1-analysis/seed{seed}/log.txt",
    benchmark:
        "<results>/benchmarks/analyse_recordings-{seed}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.cascade.analysis"),
        out=lambda wildcards, output: str(Path(output.metrics).parent),
        baseline=lambda wildcards: f"{RESULTS}/EXP-C0-baseline/seed{wildcards.seed}",
    shell:
        "python -m scripts.analyse_recordings --cfg {input.config:q} --baseline {params.baseline:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule decide_simple_model:
    input:
        config="<results>/EXP-C2-decide/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
        analysis="<results>/EXP-C1-analysis/seed{seed}/tables",
    output:
        decision="<results>/EXP-C2-decide/seed{seed}/decision.json",
        metrics="<results>/EXP-C2-decide/seed{seed}/metrics.parquet",
        candidates="<results>/EXP-C2-decide/seed{seed}/candidates.parquet",
        curves="<results>/EXP-C2-decide/seed{seed}/risk_coverage.parquet",
    log:
        "<results>/EXP-C2-decide/seed{seed}/log.txt",
    benchmark:
        "<results>/benchmarks/decide_simple_model-{seed}.jsonl"
    conda:
        ENVIRONMENT
    threads: CASCADE_DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
    params:
        code=sources_digest("pipeline.cascade.decision"),
        out=lambda wildcards, output: str(Path(output.metrics).parent),
        analysis=lambda wildcards, input: str(Path(input.analysis).parent),
    shell:
        "python -m scripts.decide_simple_model --cfg {input.config:q} --analysis {params.analysis:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule join_cascade_seeds:
    input:
        tables=expand(
            "<results>/{{cascade}}/seed{seed}/metrics.parquet", seed=CASCADE_SEEDS
        ),
    output:
        metrics="<results>/{cascade}/metrics.parquet",
    log:
        "<results>/logs/join_seeds/{cascade}.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.artifacts"),
    shell:
        "python -m scripts.join_seeds --out {output.metrics:q} {input.tables:q} > {log:q} 2>&1"
