# The cascade in integers, one job per patient and seed: quantisation-aware training (EXP-C4), and its variants.
C4 = "<results>/{quantised}/seed{seed}/{patient}"


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
