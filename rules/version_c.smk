# Phases 2 and 3: several chips in the loop, one training job per seed. EXP-P0-1 gives final latencies their interval.
rule train_version_c:
    input:
        config="<results>/{experiment}/seed{seed}/config.yaml",
        data=training_data,
        init=start_weights,
        proxy=rules.run_proxy_ms_mem.output.proxy,
        weights=rules.run_proxy_ms_mem.output.model,
        chips=CHIPS,
    output:
        model="<results>/{experiment}/seed{seed}/model.safetensors",
        metrics="<results>/{experiment}/seed{seed}/metrics.parquet",
        cost="<results>/{experiment}/seed{seed}/cost.parquet",
        history="<results>/{experiment}/seed{seed}/history.parquet",
        predictions="<results>/{experiment}/seed{seed}/predictions.parquet",
        design="<results>/{experiment}/seed{seed}/design.json",
        alternation="<results>/{experiment}/seed{seed}/alternation.parquet",
        rivals="<results>/{experiment}/seed{seed}/rivals.parquet",
    log:
        "<results>/{experiment}/seed{seed}/log.txt",
    benchmark:
        "<results>/{experiment}/seed{seed}/benchmark.jsonl"
    wildcard_constraints:
        experiment="|".join(trained_by("run_version_c")) or "none",
    conda:
        ENVIRONMENT
    threads: DEFAULTS.training.threads
    resources:
        mem_mb=PRESET.mem_mb,
        runtime=PRESET.runtime_min,
        gpu=PRESET.gpus,
    params:
        code=sources_digest("pipeline.trainer.trainer_version_c"),
        out=lambda wildcards, output: str(Path(output.model).parent),
        proxy=lambda wildcards, input: str(Path(input.proxy).parent),
        init=lambda wildcards, input: (
            f"--init-from {input.init}" if input.get("init") else ""
        ),
    shell:
        "python -m scripts.run_version_c --cfg {input.config:q} --out {params.out:q} --proxy {params.proxy:q}"
        " {params.init} > {log:q} 2>&1"
