// Ictal if logit 1 is the larger; to the complex model unless the logits differ by more than the margin.
module routing_decision #(
    parameter LOGIT_BITS = 36,
    parameter signed [63:0] MARGIN = 0
) (
    input wire signed [LOGIT_BITS-1:0] logit_0,
    input wire signed [LOGIT_BITS-1:0] logit_1,
    output wire ictal,
    output wire to_complex
);
    localparam signed [LOGIT_BITS:0] LIMIT = MARGIN[LOGIT_BITS:0];
    wire signed [LOGIT_BITS:0] difference = logit_1 - logit_0;
    assign ictal = difference > 0;
    assign to_complex = !(difference > LIMIT || difference < -LIMIT);
endmodule
