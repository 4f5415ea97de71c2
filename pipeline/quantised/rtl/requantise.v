// sum / 2**shift, rounded half to even, saturated to [low, high]; three cycles.
module requantise #(
    parameter SUM_BITS = 40,
    parameter SHIFT_BITS = 6,
    parameter OUT_BITS = 16
) (
    input wire clock,
    input wire reset,
    input wire valid,
    input wire signed [SUM_BITS-1:0] sum,
    input wire [SHIFT_BITS-1:0] shift,
    input wire signed [OUT_BITS-1:0] low,
    input wire signed [OUT_BITS-1:0] high,
    output reg out_valid,
    output reg signed [OUT_BITS-1:0] out
);
    // Adding half less one, and one more where the quotient is odd, leaves ties at the even neighbour.
    wire [SUM_BITS-1:0] below_half = ~({SUM_BITS{1'b1}} << shift) >> 1;
    wire odd = shift != 0 && sum[shift];
    reg signed [SUM_BITS:0] raised;
    reg signed [SUM_BITS:0] shifted;
    reg raised_valid, shifted_valid;

    always @(posedge clock) begin
        raised <= sum + $signed({1'b0, below_half}) + $signed({1'b0, odd});
        shifted <= raised >>> shift;
        if (shifted < low) out <= low;
        else if (shifted > high) out <= high;
        else out <= shifted[OUT_BITS-1:0];
    end

    always @(posedge clock) begin
        raised_valid <= !reset && valid;
        shifted_valid <= !reset && raised_valid;
        out_valid <= !reset && shifted_valid;
    end
endmodule
