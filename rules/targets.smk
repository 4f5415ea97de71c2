# Names a person types: every experiment, every phase, and the stages before and after them.
for name in [*EXPERIMENTS, *CASCADE]:

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


rule demo_data:
    input:
        data_tables(),


rule report:
    input:
        rules.make_report.output.page,
