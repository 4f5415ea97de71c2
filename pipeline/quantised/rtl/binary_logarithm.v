// position * 2**FRACTION_BITS + table[mantissa] + OFFSET, where position is that of the highest set bit of a positive
// sum and mantissa are the INDEX_BITS below it. One shift a cycle, SUM_BITS + 2 cycles whatever the sum.
module binary_logarithm #(
    parameter SUM_BITS = 50,
    parameter INDEX_BITS = 8,
    parameter FRACTION_BITS = 10,
    parameter signed [63:0] OFFSET = 0
) (
    input wire clock,
    input wire reset,
    input wire valid,
    input wire signed [SUM_BITS-1:0] sum,
    output reg out_valid,
    output reg signed [SUM_BITS-1:0] out
);
    reg signed [15:0] log2_table [0:(1 << INDEX_BITS)-1];
    initial $readmemh("log2.mem", log2_table);

    // A part select is unsigned and would make the whole sum so.
    localparam signed [SUM_BITS-1:0] CONSTANT = OFFSET[SUM_BITS-1:0];
    reg [SUM_BITS-1:0] value;
    reg [7:0] position;
    reg [7:0] steps;
    reg shifting, entry_valid;
    reg signed [15:0] entry;
    wire signed [SUM_BITS-1:0] whole = $signed({{(SUM_BITS-8){1'b0}}, position}) <<< FRACTION_BITS;

    always @(posedge clock) begin
        entry <= log2_table[value[SUM_BITS-2 -: INDEX_BITS]];
        out <= whole + entry + CONSTANT;
        if (valid) begin
            value <= sum;
            position <= SUM_BITS - 1;
            steps <= SUM_BITS - 1;
        end else if (shifting) begin
            steps <= steps - 1'b1;
            if (!value[SUM_BITS-1]) begin
                value <= value << 1;
                position <= position - 1'b1;
            end
        end
    end

    always @(posedge clock) begin
        if (reset) shifting <= 0;
        else if (valid) shifting <= 1;
        else if (steps == 0) shifting <= 0;
        entry_valid <= !reset && shifting && steps == 0;
        out_valid <= !reset && entry_valid;
    end
endmodule
