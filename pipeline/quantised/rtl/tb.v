// Streams the test windows through `simple_path`, electrode after electrode and sample after sample, and compares
// logits, verdict, route bit and cycles with the integer model's. Ends at the first difference.
module tb #(
`include "parameters.vh"
);
`include "vectors.vh"
    reg clock = 0;
    reg reset = 1;
    reg [31:0] sent = 0;
    reg [31:0] results = 0;
    reg [31:0] cycles = 0;
    reg [CHANNEL_BITS-1:0] channel = 0;
    reg [SAMPLE_BITS-1:0] windows [0:WINDOW_WORDS-1];
    reg [LOGIT_BITS-1:0] expected [0:3*WINDOWS-1];
    wire ready, busy, valid, ictal, to_complex;
    wire signed [LOGIT_BITS-1:0] logit_0, logit_1;
    wire signed [LOGIT_BITS-1:0] expected_0 = expected[3 * results];
    wire signed [LOGIT_BITS-1:0] expected_1 = expected[3 * results + 1];
    wire [LOGIT_BITS-1:0] expected_route_word = expected[3 * results + 2];
    wire expected_route = expected_route_word[0];
    wire sending = !reset && sent < WINDOW_WORDS;

    simple_path dut (
        .clock(clock), .reset(reset),
        .sample_valid(sending), .sample_ready(ready), .sample_channel(channel),
        .sample(sending ? windows[sent] : {SAMPLE_BITS{1'b0}}),
        .busy(busy), .result_valid(valid), .logit_0(logit_0), .logit_1(logit_1),
        .ictal(ictal), .to_complex(to_complex)
    );

    initial begin
        $readmemh("test_windows.mem", windows);
        $readmemh("test_expected.mem", expected);
        #35 reset = 0;
    end
    always #5 clock = !clock;

    always @(posedge clock) begin
        if (sending && ready) begin
            sent <= sent + 1;
            channel <= channel == CHANNELS - 1 ? 0 : channel + 1'b1;
        end
        cycles <= !busy || valid ? 0 : cycles + 1;
        if (valid) begin
            if (logit_0 !== expected_0 || logit_1 !== expected_1 || to_complex !== expected_route
                    || ictal !== (expected_1 > expected_0)) begin
                $display("FAIL window %0d: logits %0d, %0d, ictal %0d, route %0d; expected %0d, %0d, %0d, %0d", results,
                    logit_0, logit_1, ictal, to_complex, expected_0, expected_1, expected_1 > expected_0, expected_route);
                $fatal(1, "the RTL differs from the integer model");
            end
            if (cycles + 1 != EXPECTED_CYCLES) begin
                $display("FAIL window %0d: %0d cycles, expected %0d", results, cycles + 1, EXPECTED_CYCLES);
                $fatal(1, "the RTL takes another time than stated");
            end
            results <= results + 1;
            if (results == WINDOWS - 1) begin
                $display("PASS %0d windows, %0d cycles each", WINDOWS, EXPECTED_CYCLES);
                $finish;
            end
        end
    end
endmodule
