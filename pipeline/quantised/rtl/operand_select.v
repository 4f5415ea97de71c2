// What the multiplier reads, by the present layer: a value and its weight, a value twice, or a sample after the mean
// of its window was taken off it.
module operand_select #(
    parameter X_BITS = 16,
    parameter A_BITS = 17,
    parameter B_BITS = 17
) (
    input wire clock,
    input wire [2:0] operand,
    input wire valid,
    input wire first,
    input wire signed [X_BITS-1:0] x,
    input wire signed [X_BITS-1:0] mean,
    // Narrow weights lie two in a word, the first in the low byte.
    input wire [15:0] w_word,
    input wire w_odd,
    output reg signed [A_BITS-1:0] a,
    output reg signed [B_BITS-1:0] b
);
    localparam WIDE = 3'd0, NARROW = 3'd1, ONE = 3'd2, SQUARE = 3'd3;
    localparam CENTRED_SQUARE = 3'd4, CENTRED_MAGNITUDE = 3'd5, CENTRED_SIGN_CHANGE = 3'd6;

    wire signed [7:0] w_byte = w_odd ? w_word[15:8] : w_word[7:0];
    wire signed [15:0] w_wide = w_word;
    wire signed [X_BITS:0] centred = x - mean;
    wire signed [X_BITS:0] magnitude = centred[X_BITS] ? -centred : centred;
    reg previous_negative;
    always @(posedge clock) if (valid) previous_negative <= centred[X_BITS];
    wire sign_change = !first && centred[X_BITS] != previous_negative;

    // Widths are chosen by the exporter so that no operand that a layer uses is cut.
    always @* begin
        a = x;
        b = 1;
        case (operand)
            WIDE: b = w_wide;
            NARROW: b = w_byte;
            ONE: b = 1;
            SQUARE: b = x;
            CENTRED_SQUARE: begin
                a = centred;
                b = centred;
            end
            CENTRED_MAGNITUDE: a = magnitude;
            CENTRED_SIGN_CHANGE: a = $signed({1'b0, sign_change});
            default: ;
        endcase
    end
endmodule
