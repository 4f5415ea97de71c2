# Raw clips -> JPEG tree and packed frames -> manifest; raw sound -> log-mel features. All in resumable shards.
DEMO_PART = f"<results>/data/raw{{variant}}/shards/truth-{{shard}}-of-{SHARDS}.parquet"
FRAMES_PART = f"<data>{{variant}}/shards/frames-{{shard}}-of-{SHARDS}.parquet"
AUDIO_PART = f"<data>/shards/audio-{{shard}}-of-{SHARDS}.parquet"


rule make_demo_data:
    output:
        part=DEMO_PART,
    log:
        "<results>/logs/make_demo_data{variant}-{shard}.log",
    benchmark:
        "<results>/benchmarks/make_demo_data{variant}-{shard}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.demo_ucf101"),
        demo=PRESET.demo.model_dump(),
        preset=SETTINGS.preset,
        out=lambda wildcards: f"{RESULTS}/data/raw{wildcards.variant}",
        target=lambda wildcards: "--without-target" if wildcards.variant else "",
        shards=SHARDS,
    shell:
        "python -m scripts.make_demo_data --preset {params.preset} --out {params.out:q}"
        " --shard {wildcards.shard}/{params.shards} {params.target} > {log:q} 2>&1"


rule finish_demo_data:
    input:
        parts=parts(DEMO_PART),
    output:
        truth="<results>/data/raw{variant}/truth.parquet",
    log:
        "<results>/logs/finish_demo_data{variant}.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.demo_ucf101"),
        preset=SETTINGS.preset,
        out=lambda wildcards: f"{RESULTS}/data/raw{wildcards.variant}",
        target=lambda wildcards: "--without-target" if wildcards.variant else "",
        shards=SHARDS,
    shell:
        "python -m scripts.make_demo_data --preset {params.preset} --out {params.out:q}"
        " --merge {params.shards} {params.target} > {log:q} 2>&1"


rule extract_frames:
    input:
        raw=raw_videos,
        lists=SPLIT_LISTS,
    output:
        part=FRAMES_PART,
    log:
        "<results>/logs/extract_frames{variant}-{shard}.log",
    benchmark:
        "<results>/benchmarks/extract_frames{variant}-{shard}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.frames"),
        source=frames_source,
        out=lambda wildcards: f"{DATA_ROOT}{wildcards.variant}",
        short_side=DEFAULTS.data.short_side,
        listing=RAW_LISTING,
        shards=SHARDS,
    shell:
        "python -m scripts.extract_frames {params.source} --out {params.out:q}"
        " --short-side {params.short_side} --shard {wildcards.shard}/{params.shards} > {log:q} 2>&1"


rule merge_manifest:
    input:
        parts=parts(FRAMES_PART),
        lists=SPLIT_LISTS,
    output:
        manifest="<data>{variant}/manifest.parquet",
    log:
        "<results>/logs/merge_manifest{variant}.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.frames"),
        source=frames_source,
        out=lambda wildcards: f"{DATA_ROOT}{wildcards.variant}",
        short_side=DEFAULTS.data.short_side,
        shards=SHARDS,
    shell:
        "python -m scripts.extract_frames {params.source} --out {params.out:q}"
        " --short-side {params.short_side} --merge {params.shards} > {log:q} 2>&1"


rule preprocess_audio:
    input:
        manifest="<data>/manifest.parquet",
        cfg=AUDIO_CONFIG,
    output:
        part=AUDIO_PART,
    log:
        "<results>/logs/preprocess_audio-{shard}.log",
    benchmark:
        "<results>/benchmarks/preprocess_audio-{shard}.jsonl"
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.audio"),
        settings=audio_settings,
        listing=RAW_LISTING,
        shards=SHARDS,
    shell:
        "python -m scripts.preprocess_ucf101_audio --cfg {input.cfg:q} {params.settings}"
        " --shard {wildcards.shard}/{params.shards} > {log:q} 2>&1"


rule merge_audio:
    input:
        parts=parts(AUDIO_PART),
        cfg=AUDIO_CONFIG,
    output:
        audio="<data>/audio.parquet",
    log:
        "<results>/logs/merge_audio.log",
    conda:
        ENVIRONMENT
    params:
        code=sources_digest("pipeline.data.audio"),
        settings=audio_settings,
        shards=SHARDS,
    shell:
        "python -m scripts.preprocess_ucf101_audio --cfg {input.cfg:q} {params.settings}"
        " --merge {params.shards} > {log:q} 2>&1"
