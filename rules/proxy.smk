# Phase 0: chips modelled, this machine measured, proxies fitted; and what finished networks cost on all of them.
PROFILE = f"{RESULTS}/hardware/profile"
MODELLED = f"{RESULTS}/hardware/modelled"


rule make_modelled_table:
    input:
        chips=CHIPS,
    output:
        layers=f"{MODELLED}/layers.parquet",
        devices=f"{MODELLED}/devices.csv",
    log:
        "<results>/logs/make_modelled_table.log",
    benchmark:
        "<results>/benchmarks/make_modelled_table.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.hw_proxy.modelled_table"),
        out=lambda wildcards, output: str(Path(output.layers).parent),
        rows=PRESET.phase0.modelled_rows,
        library=DEFAULTS.hw.library,
    shell:
        "python -m scripts.make_modelled_table --out {params.out:q} --library {params.library}"
        " --count {params.rows} > {log:q} 2>&1"


# All cores: it must run alone, or it measures its neighbours.
rule profile_host:
    output:
        layers=f"{PROFILE}/layers.parquet",
        rejected=f"{PROFILE}/rejected.parquet",
        devices=f"{PROFILE}/devices.csv",
        profile=f"{PROFILE}/profile.json",
    log:
        "<results>/logs/profile_host.log",
    benchmark:
        "<results>/benchmarks/profile_host.jsonl"
    conda:
        ENVIRONMENT
    threads: os.cpu_count()
    params:
        code=sources_digest("pipeline.hw_proxy.host_profile"),
        out=lambda wildcards, output: str(Path(output.layers).parent),
        grid=PRESET.phase0.host_grid,
    shell:
        "python -m scripts.profile_host --out {params.out:q} --grid {params.grid}"
        " --threads {threads} > {log:q} 2>&1"


# The user's measured table, or the modelled one.
LAYER_LATENCY = SETTINGS.layer_latency or f"{MODELLED}/layers.parquet"
DEVICES = SETTINGS.devices or f"{MODELLED}/devices.csv"


rule run_proxy_ms_mem:
    input:
        cfg=PROXY_CONFIGS["ms_mem"],
        layers=LAYER_LATENCY,
        devices=DEVICES,
    output:
        proxy="<results>/EXP-P0-1-ms-mem/seed0/proxy.json",
        model="<results>/EXP-P0-1-ms-mem/seed0/model.safetensors",
        metrics="<results>/EXP-P0-1-ms-mem/seed0/metrics.parquet",
        shapes="<results>/EXP-P0-1-ms-mem/seed0/shapes.parquet",
    log:
        "<results>/EXP-P0-1-ms-mem/seed0/log.txt",
    benchmark:
        "<results>/EXP-P0-1-ms-mem/seed0/benchmark.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.hw_proxy.proxy_run"),
        out=lambda wildcards, output: str(Path(output.proxy).parent),
        settings=proxy_settings(),
    shell:
        "python -m scripts.run_proxy_ms_mem --cfg {input.cfg:q} --set data.layer_latency={input.layers:q}"
        " --set data.devices={input.devices:q} {params.settings} --out {params.out:q} > {log:q} 2>&1"


rule run_proxy_power:
    input:
        cfg=PROXY_CONFIGS["power"],
        layers=LAYER_LATENCY,
        devices=DEVICES,
        models=MEASURED_MODELS,
        proxy=rules.run_proxy_ms_mem.output.proxy,
    output:
        proxy="<results>/EXP-P0-2-power/seed0/proxy.json",
        model="<results>/EXP-P0-2-power/seed0/model.safetensors",
        metrics="<results>/EXP-P0-2-power/seed0/metrics.parquet",
    log:
        "<results>/EXP-P0-2-power/seed0/log.txt",
    benchmark:
        "<results>/EXP-P0-2-power/seed0/benchmark.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.hw_proxy.proxy_run"),
        out=lambda wildcards, output: str(Path(output.proxy).parent),
        proxy=lambda wildcards, input: str(Path(input.proxy).parent),
        settings=proxy_settings(models=True),
    shell:
        "python -m scripts.run_proxy_power --cfg {input.cfg:q} --set data.layer_latency={input.layers:q}"
        " --set data.devices={input.devices:q} {params.settings} --proxy {params.proxy:q} --out {params.out:q}"
        " > {log:q} 2>&1"


rule predict_hardware:
    input:
        designs=[f"{run}/design.json" for run in pruned_runs()],
        layers=rules.profile_host.output.layers,
        profile=rules.profile_host.output.profile,
        chips=CHIPS,
    output:
        predictions="<results>/hardware/predictions.parquet",
        knobs="<results>/hardware/knobs.parquet",
        host="<results>/hardware/host.parquet",
        host_layers="<results>/hardware/host_layers.parquet",
    log:
        "<results>/logs/predict_hardware.log",
    benchmark:
        "<results>/benchmarks/predict_hardware.jsonl"
    conda:
        ENVIRONMENT
    threads: os.cpu_count()
    params:
        code=sources_digest("pipeline.hw_proxy.predict_hardware"),
        runs=pruned_runs(),
        out=lambda wildcards, output: str(Path(output.predictions).parent),
        profile=lambda wildcards, input: str(Path(input.profile).parent),
        repeats=PRESET.phase0.design_repeats,
        library=DEFAULTS.hw.library,
    shell:
        "python -m scripts.predict_hardware {params.runs:q} --profile {params.profile:q} --out {params.out:q}"
        " --library {params.library} --repeats {params.repeats} > {log:q} 2>&1"
