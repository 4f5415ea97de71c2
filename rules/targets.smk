# Names a person types: every experiment, every phase, every group of variants, and the stages before and after them.
for name in [*RUNS, *CASCADE_RUNS]:

    rule:
        name:
            name
        input:
            f"<results>/{name}/metrics.parquet",


for phase in {entry.phase for entry in [*EXPERIMENTS.values(), *CASCADE.values()]}:

    rule:
        name:
            phase
        input:
            joined_metrics(of_phase(phase)),


for group, variants in {**GROUPS, **CASCADE_GROUPS}.items():

    rule:
        name:
            group
        input:
            joined_metrics([*load_catalogue().groups[group].beside, *variants]),


rule demo_data:
    input:
        data_tables(),


rule report:
    input:
        rules.make_report.output.page,


rule hardware:
    input:
        rules.predict_hardware.output,


for name, metrics in proxy_metrics().items():

    rule:
        name:
            name
        input:
            metrics,


rule phase0:
    input:
        list(proxy_metrics().values()),
        rules.profile_host.output,
