// One multiplier: an output is bias + sum of a * b, or the largest a * b, one product a cycle, no bubble between
// outputs. Three cycles from operands to sum; `sum_valid` marks the sum that the last product completes.
module multiply_accumulate #(
    parameter A_BITS = 16,
    parameter B_BITS = 16,
    parameter SUM_BITS = 40
) (
    input wire clock,
    input wire reset,
    input wire maximum,
    input wire valid,
    input wire first,
    input wire last,
    input wire signed [A_BITS-1:0] a,
    input wire signed [B_BITS-1:0] b,
    input wire signed [SUM_BITS-1:0] bias,
    output reg sum_valid,
    output reg signed [SUM_BITS-1:0] sum
);
    reg signed [A_BITS-1:0] a_held;
    reg signed [B_BITS-1:0] b_held;
    reg signed [A_BITS+B_BITS-1:0] product;
    reg signed [SUM_BITS-1:0] bias_held, bias_of_product;
    reg held_valid, held_first, held_last, product_valid, product_first, product_last;

    // A product never exceeds the proved width of the sum that it is a part of.
    wire signed [A_BITS+B_BITS+SUM_BITS-1:0] extended = {{SUM_BITS{product[A_BITS+B_BITS-1]}}, product};
    wire signed [SUM_BITS-1:0] term = extended[SUM_BITS-1:0];
    wire replaces = product_first || term > sum;

    always @(posedge clock) begin
        a_held <= a;
        b_held <= b;
        bias_held <= bias;
        product <= a_held * b_held;
        bias_of_product <= bias_held;
        if (product_valid) begin
            if (maximum) sum <= replaces ? term : sum;
            else sum <= (product_first ? bias_of_product : sum) + term;
        end
    end

    always @(posedge clock) begin
        {held_valid, held_first, held_last} <= reset ? 3'b0 : {valid, first, last};
        {product_valid, product_first, product_last} <= reset ? 3'b0 : {held_valid, held_first, held_last};
        sum_valid <= !reset && product_valid && product_last;
    end
endmodule
