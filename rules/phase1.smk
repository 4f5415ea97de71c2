# Single-device experiments: one resolved config and one training job per seed, one joined table per experiment.
rule resolve_config:
    output:
        config="<results>/{experiment}/seed{seed}/config.yaml",
    log:
        "<results>/logs/resolve_config/{experiment}-seed{seed}.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.experiments"),
        merged=lambda wildcards: resolved(wildcards).model_dump(),
        preset=SETTINGS.preset,
    shell:
        "python -m scripts.resolve_config --preset {params.preset} --experiment {wildcards.experiment}"
        " --seed {wildcards.seed} --out {output.config:q} > {log:q} 2>&1"


rule train_single_device:
    input:
        config="<results>/{experiment}/seed{seed}/config.yaml",
        data=training_data,
        init=start_weights,
        proxy=fitted_proxy,
    output:
        model="<results>/{experiment}/seed{seed}/model.safetensors",
        metrics="<results>/{experiment}/seed{seed}/metrics.parquet",
        cost="<results>/{experiment}/seed{seed}/cost.parquet",
        history="<results>/{experiment}/seed{seed}/history.parquet",
        predictions="<results>/{experiment}/seed{seed}/predictions.parquet",
        design="<results>/{experiment}/seed{seed}/design.json",
    log:
        "<results>/{experiment}/seed{seed}/log.txt",
    benchmark:
        "<results>/{experiment}/seed{seed}/benchmark.jsonl"
    wildcard_constraints:
        experiment="|".join(trained_by("run_ast2_ucf101")) or "none",
    conda:
        ENVIRONMENT
    threads: DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
        gpu=PRESET.gpus,
    params:
        code=sources_digest("pipeline.trainer.trainer_single_device"),
        out=lambda wildcards, output: str(Path(output.model).parent),
        init=lambda wildcards, input: (
            f"--init-from {input.init}" if input.get("init") else ""
        ),
        proxy=lambda wildcards, input: (
            f"--proxy {Path(input.proxy[0]).parent}" if input.get("proxy") else ""
        ),
    shell:
        "python -m scripts.run_ast2_ucf101 --cfg {input.config:q} --out {params.out:q}"
        " {params.init} {params.proxy} > {log:q} 2>&1"


rule join_seeds:
    input:
        tables=expand(
            "<results>/{{experiment}}/seed{seed}/metrics.parquet", seed=PRESET.seeds
        ),
    output:
        metrics="<results>/{experiment}/metrics.parquet",
    log:
        "<results>/logs/join_seeds/{experiment}.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.artifacts"),
    shell:
        "python -m scripts.join_seeds --out {output.metrics:q} {input.tables:q} > {log:q} 2>&1"
