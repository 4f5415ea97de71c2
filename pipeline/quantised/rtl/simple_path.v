// The first stage of the cascade: one electrode of the array, the simple model on its window, and the comparison that
// says whether the complex model is needed. Integers only; sizes, layers and weights are generated files
// (`parameters.vh`, `layer_program.v`, `*.mem`).
module simple_path #(
`include "parameters.vh"
) (
    input wire clock,
    input wire reset,
    // One sample of one electrode a cycle, on the grid of the manifest's input scale.
    input wire sample_valid,
    output wire sample_ready,
    input wire [CHANNEL_BITS-1:0] sample_channel,
    input wire signed [SAMPLE_BITS-1:0] sample,
    // High from the cycle after a window is complete to the one in which its result is valid.
    output wire busy,
    // High for one cycle a window; the logits, on the grid of the manifest's logit scale, stay until the next ones.
    output reg result_valid,
    output reg signed [LOGIT_BITS-1:0] logit_0,
    output reg signed [LOGIT_BITS-1:0] logit_1,
    output wire ictal,
    output wire to_complex
);
    wire window_full, done, running;
    wire [LAYER_BITS-1:0] layer;
    wire [X_ADDRESS_BITS-1:0] x_address;
    wire signed [SAMPLE_BITS-1:0] window_sample;
    assign busy = running || done || result_valid;

    window_buffer #(
        .CHANNEL_BITS(CHANNEL_BITS), .ELECTRODE(ELECTRODE), .SAMPLES(SAMPLES),
        .ADDRESS_BITS(SAMPLE_ADDRESS_BITS), .WIDTH(SAMPLE_BITS)
    ) window (
        .clock(clock), .reset(reset),
        .sample_valid(sample_valid), .sample_ready(sample_ready), .sample_channel(sample_channel), .sample(sample),
        .window_full(window_full), .window_release(done),
        .read_address(x_address[SAMPLE_ADDRESS_BITS-1:0]), .read_data(window_sample)
    );

    // The present layer.
    wire last_layer, reads_window, wave, maximum, to_mean, to_logarithm, to_logits, has_bias;
    wire [2:0] operand;
    wire [X_ADDRESS_BITS-1:0] x_base, channel_step, position_step, output_step, y_base;
    wire [COUNT_BITS-1:0] taps, channels, positions, outputs, first_frequency;
    wire [W_ADDRESS_BITS-1:0] w_base, w_address;
    wire [B_ADDRESS_BITS-1:0] b_base, b_address;
    wire [SHIFT_BITS-1:0] shift;
    wire [DRAIN_BITS-1:0] drain;
    wire signed [X_BITS-1:0] low, high;
    layer_program layers (
        .layer(layer), .last_layer(last_layer), .reads_window(reads_window), .wave(wave), .maximum(maximum),
        .to_mean(to_mean), .to_logarithm(to_logarithm), .to_logits(to_logits), .has_bias(has_bias), .operand(operand),
        .x_base(x_base), .channel_step(channel_step), .position_step(position_step), .output_step(output_step),
        .y_base(y_base), .taps(taps), .channels(channels), .positions(positions), .outputs(outputs),
        .first_frequency(first_frequency), .w_base(w_base), .b_base(b_base), .shift(shift), .drain(drain),
        .low(low), .high(high)
    );

    wire load, valid, first, last;
    layer_sequencer #(
        .LAYER_BITS(LAYER_BITS), .COUNT_BITS(COUNT_BITS), .X_ADDRESS_BITS(X_ADDRESS_BITS),
        .W_ADDRESS_BITS(W_ADDRESS_BITS), .B_ADDRESS_BITS(B_ADDRESS_BITS), .DRAIN_BITS(DRAIN_BITS)
    ) sequencer (
        .clock(clock), .reset(reset), .start(window_full && !done), .busy(running), .done(done), .layer(layer),
        .last_layer(last_layer), .x_base(x_base), .channel_step(channel_step), .position_step(position_step),
        .output_step(output_step), .taps(taps), .channels(channels), .positions(positions), .outputs(outputs),
        .w_base(w_base), .b_base(b_base), .drain(drain), .wave(wave), .first_frequency(first_frequency),
        .load(load), .valid(valid), .first(first), .last(last),
        .x_address(x_address), .w_address(w_address), .b_address(b_address)
    );

    // Memories: one cycle from address to data.
    (* ram_style = "block" *) reg [15:0] weights [0:WEIGHT_WORDS-1];
    (* ram_style = "block" *) reg signed [X_BITS-1:0] activations [0:ACTIVATIONS-1];
    reg signed [BIAS_BITS-1:0] biases [0:BIASES-1];
    initial begin
        $readmemh("weights.mem", weights);
        $readmemh("biases.mem", biases);
    end
    reg [15:0] w_word;
    reg signed [BIAS_BITS-1:0] bias_word;
    reg signed [X_BITS-1:0] activation;
    reg w_odd, read_valid, read_first, read_last;
    // Operand 1 is a narrow weight (`operand_select`): two in a word.
    wire [W_ADDRESS_BITS-1:0] w_of_word = operand == 3'd1 ? w_address >> 1 : w_address;
    always @(posedge clock) begin
        w_word <= weights[w_of_word[WEIGHT_WORD_BITS-1:0]];
        bias_word <= biases[b_address];
        activation <= activations[x_address[ACTIVATION_BITS-1:0]];
        w_odd <= w_address[0];
        read_first <= first;
        read_last <= last;
        read_valid <= valid && !reset;
    end

    reg signed [X_BITS-1:0] mean;
    wire signed [X_BITS-1:0] x = reads_window ? window_sample : activation;
    wire signed [A_BITS-1:0] a;
    wire signed [B_BITS-1:0] b;
    operand_select #(.X_BITS(X_BITS), .A_BITS(A_BITS), .B_BITS(B_BITS)) operands (
        .clock(clock), .operand(operand), .valid(read_valid), .first(read_first), .x(x), .mean(mean),
        .w_word(w_word), .w_odd(w_odd), .a(a), .b(b)
    );

    wire sum_valid;
    wire signed [SUM_BITS-1:0] sum;
    wire signed [SUM_BITS-1:0] bias = has_bias ? bias_word : 0;
    multiply_accumulate #(.A_BITS(A_BITS), .B_BITS(B_BITS), .SUM_BITS(SUM_BITS)) multiplier (
        .clock(clock), .reset(reset), .maximum(maximum), .valid(read_valid), .first(read_first), .last(read_last),
        .a(a), .b(b), .bias(bias), .sum_valid(sum_valid), .sum(sum)
    );

    wire logarithm_valid;
    wire signed [SUM_BITS-1:0] logarithm;
    generate
        if (HAS_LOGARITHM) begin : with_logarithm
            binary_logarithm #(
                .SUM_BITS(SUM_BITS), .INDEX_BITS(LOG2_INDEX_BITS), .FRACTION_BITS(LOG2_BITS), .OFFSET(LOG2_OFFSET)
            ) unit (
                .clock(clock), .reset(reset), .valid(sum_valid && to_logarithm), .sum(sum),
                .out_valid(logarithm_valid), .out(logarithm)
            );
        end else begin : without_logarithm
            assign logarithm_valid = 0;
            assign logarithm = 0;
        end
    endgenerate

    wire y_valid;
    wire signed [X_BITS-1:0] y;
    requantise #(.SUM_BITS(SUM_BITS), .SHIFT_BITS(SHIFT_BITS), .OUT_BITS(X_BITS)) rounding (
        .clock(clock), .reset(reset), .valid(to_logarithm ? logarithm_valid : sum_valid),
        .sum(to_logarithm ? logarithm : sum), .shift(shift), .low(low), .high(high), .out_valid(y_valid), .out(y)
    );

    reg [X_ADDRESS_BITS-1:0] y_address;
    always @(posedge clock) begin
        if (load) y_address <= y_base;
        else if (y_valid) y_address <= y_address + 1'b1;
        if (y_valid && !to_logits) activations[y_address[ACTIVATION_BITS-1:0]] <= y;
        if (y_valid && to_mean) mean <= y;
        // The classifier's two sums are the logits themselves.
        if (sum_valid && to_logits) begin
            logit_0 <= logit_1;
            logit_1 <= sum[LOGIT_BITS-1:0];
        end
        result_valid <= !reset && done;
    end

    routing_decision #(.LOGIT_BITS(LOGIT_BITS), .MARGIN(MARGIN)) decision (
        .logit_0(logit_0), .logit_1(logit_1), .ictal(ictal), .to_complex(to_complex)
    );
endmodule
