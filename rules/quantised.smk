# The cascade in integers, one job per patient and seed: quantisation-aware training (EXP-C4), and its variants; and
# the back ends generated from the integer model, compared bit for bit (EXP-C5).
C4 = "<results>/{quantised}/seed{seed}/{patient}"
TRAINED_C4 = "<results>/EXP-C4-qat/seed{seed}/{patient}"
C5 = "<results>/EXP-C5-export-verify/seed{seed}/{patient}"
BACK_END_SOURCES = [
    relative(path)
    for folder in ("templates", "rtl")
    for path in sorted(Path(workflow.basedir).glob(f"pipeline/quantised/{folder}/*.*"))
]


rule quantise_cascade:
    input:
        config="<results>/{quantised}/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
        model=f"{C3}/model.safetensors",
        manifest=f"{C3}/cascade.json",
        predictions=f"{C3}/predictions.parquet",
    output:
        model=f"{C4}/model.safetensors",
        manifest=f"{C4}/quantised.json",
        integers=directory(f"{C4}/integer_model"),
        tables=expand(
            f"{C4}/{{table}}.parquet",
            table=[*TRAINED, "calibration", "layers"],
            allow_missing=True,
        ),
    log:
        f"{C4}/log.txt",
    benchmark:
        f"{C4}/benchmark.jsonl"
    wildcard_constraints:
        quantised="|".join(QUANTISED) or "none",
    conda:
        ENVIRONMENT
    threads: CASCADE_DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
        gpu=PRESET.gpus,
    params:
        code=sources_digest("pipeline.quantised.quantised_training"),
        out=lambda wildcards, input: str(Path(input.config).parent),
        stages=lambda wildcards, input: str(Path(input.model).parents[1]),
    shell:
        "python -m scripts.quantise_cascade --cfg {input.config:q} --patient {wildcards.patient:q}"
        " --stages {params.stages:q} --out {params.out:q} > {log:q} 2>&1"


rule export_cascade:
    input:
        config="<results>/EXP-C5-export-verify/seed{seed}/config.yaml",
        data="<swec>/index.parquet",
        stages=f"{C3}/cascade.json",
        trained=f"{C3}/model.safetensors",
        integers=f"{TRAINED_C4}/integer_model",
        manifest=f"{TRAINED_C4}/quantised.json",
        model=f"{TRAINED_C4}/model.safetensors",
        templates=BACK_END_SOURCES,
    output:
        # Not the folder: Snakemake would put a file of its own into it, which its own `make verify` refuses.
        manifest=f"{C5}/export/manifest.json",
        verification=f"{C5}/verification.json",
        tables=expand(
            f"{C5}/{{table}}.parquet",
            table=["agreement", "metrics", "resources"],
            allow_missing=True,
        ),
    log:
        f"{C5}/log.txt",
    benchmark:
        f"{C5}/benchmark.jsonl"
    conda:
        ENVIRONMENT
    threads: CASCADE_DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
    params:
        code=sources_digest("pipeline.quantised.export_cascade"),
        out=lambda wildcards, input: str(Path(input.config).parent),
    shell:
        "python -m scripts.export_cascade --cfg {input.config:q} --patient {wildcards.patient:q}"
        " --out {params.out:q} > {log:q} 2>&1"
