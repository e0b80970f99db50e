// Written by tools/fit_vmath.py: polynomial coefficients, lowest degree first.
#pragma once

namespace flb::coefficients {

// (e^r - 1 - r) / r^2, |r| <= ln(2)/2
constexpr double kExpF[] = {0x1.0000000000008p-1, 0x1.5554dc8961859p-3, 0x1.555518f5d0129p-5,
                            0x1.120be1dcb42dcp-7, 0x1.6d117cc118e0bp-10};
constexpr double kExpD[] = {0x1.0000000000001p-1,  0x1.5555555555556p-3,  0x1.5555555553d37p-5,
                            0x1.11111111109a6p-7,  0x1.6c16c1789d1d7p-10, 0x1.a01a01a7cebcdp-13,
                            0x1.a019b8ca26fcfp-16, 0x1.71de0d85293b8p-19, 0x1.2891d4ffbb0f9p-22,
                            0x1.af390ba7e6f47p-26};
// (2^r - 1) / r, |r| <= 1/2
constexpr double kExp2F[] = {0x1.62e4302fc626ep-1, 0x1.ebfbe00e63baep-3,  0x1.c6af6cdbbdcc7p-5,
                             0x1.3b2a53045179ap-7, 0x1.5f0890162a90ap-10, 0x1.4413896e1ad27p-13};
constexpr double kExp2D[] = {0x1.62e42fefa39efp-1,  0x1.ebfbdff82c598p-3,  0x1.c6b08d704a0c2p-5,
                             0x1.3b2ab6fba1ddap-7,  0x1.5d87fe78a5276p-10, 0x1.430913096fd9fp-13,
                             0x1.ffcbfc670dcd6p-17, 0x1.62bfd47773353p-20, 0x1.b524fae6272fcp-24,
                             0x1.e6063f7217bc6p-28, 0x1.e9d3fe39cb934p-32};
constexpr double kExp2Pow[] = {0x1.62e42fefa39efp-1, 0x1.ebfbe045f4d3cp-3,  0x1.c6b08d883dcabp-5,
                               0x1.3b2a1b7152befp-7, 0x1.5d879ead06012p-10, 0x1.443fffc90db59p-13,
                               0x1.00a58159a6cc2p-16};
// (log(1+f) - f + f^2/2) / f^3, 1+f from sqrt(1/2) to sqrt(2)
constexpr double kLogF[] = {0x1.55555395c5f29p-2,  -0x1.0000cda2ff23ep-2, 0x1.999f144d3824ap-3,
                            -0x1.54d03de3ce4b8p-3, 0x1.231ce579cc6d6p-3,  -0x1.0a33eaedc8535p-3,
                            0x1.02814eec2ac0bp-3,  -0x1.43b246482cf41p-4};
// (log2(1+f) - f/ln(base)) / f^2, the same range
constexpr double kLog2F[] = {-0x1.7154752f76b3ep-1, 0x1.ec709a907a0b0p-2,  -0x1.71576ab371f2cp-2,
                             0x1.277b703c02920p-2,  -0x1.eb41e6ed86ce2p-3, 0x1.a3b3c86b4360fp-3,
                             -0x1.83df3747f3286p-3, 0x1.77e8bb558c555p-3,  -0x1.c574f5e6c9fd7p-4};
// (log10(1+f) - f/ln(base)) / f^2, the same range
constexpr double kLog10F[] = {-0x1.bcb7aff3b957bp-3, 0x1.287a7449c6e6fp-3,  -0x1.bcbb401777140p-4,
                              0x1.63cbc697c1b86p-4,  -0x1.27c435ac96e78p-4, 0x1.f95f34bb8015ap-5,
                              -0x1.d30b5a8bea4adp-5, 0x1.c4a3c15c4f230p-5,  -0x1.11021c3f7ca16p-5};
// (log((1+s)/(1-s))/s - 2) / z with z = s^2 and s = f/(2+f), the same range of f
constexpr double kLogD[] = {0x1.5555555555555p-1, 0x1.9999999999a39p-2, 0x1.2492492476a1ap-2,
                            0x1.c71c7201a55d7p-3, 0x1.745cf8e4bba1bp-3, 0x1.3b1c3c1c81c8fp-3,
                            0x1.0fbde0f4ad17bp-3, 0x1.0c0aff044a970p-3};
// (log((1+s)/(1-s))/s - 2 - 2z/3) / z^2
constexpr double kLogPowD[] = {0x1.999999999999ap-2, 0x1.2492492492522p-2, 0x1.c71c71c6ea5acp-3,
                               0x1.745d177ad436ap-3, 0x1.3b1395b82701ep-3, 0x1.1118cd67251c5p-3,
                               0x1.df7ba1f4809c3p-4, 0x1.e03a7acf07f85p-4};
// log2((1+s)/(1-s)) / s
constexpr double kLog2Pow[] = {0x1.71547652b8251p+1, 0x1.ec709dc53bfcfp-1, 0x1.2776c2935a8c1p-1,
                               0x1.a61a2ef4051f3p-2, 0x1.4795463b406c3p-2, 0x1.21b245a850e1dp-2};
// (sin(x) - x) / x^3 over z = x^2, |x| <= pi/2
constexpr double kSinF[] = {-0x1.5555555446fb8p-3, 0x1.11110fc14bc55p-7, -0x1.a018f6755c520p-13,
                            0x1.7193b5f5015dep-19, -0x1.9d5df65b757bap-26};
constexpr double kSinD[] = {-0x1.5555555555555p-3,  0x1.1111111111111p-7,   -0x1.a01a01a01a01ap-13,
                            0x1.71de3a556c72ap-19,  -0x1.ae64567f538fbp-26, 0x1.61246139f968ap-33,
                            -0x1.ae7f3df371c20p-41, 0x1.952c2f82b32e8p-49,  -0x1.2f318239f3a05p-57,
                            0x1.68a345558bb77p-66};
// tan(x)/x = top(z)/bottom(z) over z = x^2, |x| <= pi/4
constexpr double kTanTopF[] = {0x1.ffffffffffe8ap-1, -0x1.d810373b8682ep-4, 0x1.62e668c4eef1fp-10,
                               0x1.b92a8c99ea71dp-18};
constexpr double kTanBottomF[] = {0x1.0000000000000p+0, -0x1.cb5963244bc05p-2, 0x1.1f8299879bb0bp-6};
constexpr double kTanTopD[] = {0x1.0000000000000p+0, -0x1.192b185935febp-3, 0x1.014adcc3742b6p-8,
                               -0x1.e39d18a4781f4p-16, 0x1.f6f1ad5fb576bp-26};
constexpr double kTanBottomD[] = {0x1.0000000000000p+0, -0x1.e1eae181f054bp-2, 0x1.c20436b2ab9b4p-6,
                                  -0x1.a696f82ec0ad2p-12, 0x1.6075fe0adfe39p-20};
// (tanh(x) - x) / x^3 over x^2, |x| <= 0.625
constexpr double kTanhF[] = {-0x1.5555526346510p-2, 0x1.110e1c9ed53c1p-3, -0x1.b9258aeffc781p-5,
                             0x1.58048d46fe82ap-6, -0x1.8f8de3f4a4895p-8};
constexpr double kTanhD[] = {-0x1.5555555555555p-2,  0x1.11111111110a8p-3,   -0x1.ba1ba1ba0f126p-5,
                             0x1.664f487e0a749p-6,   -0x1.226e3473dce5cp-7,  0x1.d6d39ae3905e2p-9,
                             -0x1.7d9f6f23e8682p-10, 0x1.3526e9ed54da1p-11,  -0x1.f243823c8c981p-13,
                             0x1.8445870f6fe41p-14,  -0x1.05bbdae896297p-15, 0x1.b33642a122cddp-18};
// (sinh(x) - x) / x^3 over x^2, |x| <= 1
constexpr double kSinhF[] = {0x1.5555554e858c9p-3, 0x1.11111eaff05ecp-7, 0x1.a008ffbc060dap-13,
                             0x1.78a70e32a02ebp-19};
constexpr double kSinhD[] = {0x1.5555555555555p-3,  0x1.1111111111111p-7,  0x1.a01a01a01a001p-13,
                             0x1.71de3a556f96cp-19, 0x1.ae6456792a77fp-26, 0x1.612467ccb2260p-33,
                             0x1.ae777c36fd5b6p-41, 0x1.99f0806c2628dp-49};
// (asin(x) - x) / x^3 over x^2, |x| <= 1/2
constexpr double kAsinF[] = {0x1.555554e435732p-3, 0x1.333430fcff28ep-4, 0x1.6d5bb95f8e653p-5,
                             0x1.fd8da2554dd34p-6, 0x1.18f91e79712c6p-6, 0x1.13fed3dd245c1p-5};
constexpr double kAsinD[] = {0x1.5555555555555p-3,  0x1.3333333333388p-4, 0x1.6db6db6dac1e0p-5,
                             0x1.f1c71c7a52ba3p-6,  0x1.6e8ba123e494cp-6, 0x1.1c4efce23019fp-6,
                             0x1.c990ad3d8fdcap-7,  0x1.7b027ee1dd585p-7, 0x1.3b49de7121487p-7,
                             0x1.31622469ce5adp-7,  0x1.8f193743418ffp-9, 0x1.406192d124629p-6,
                             -0x1.3b416bb7d9257p-6, 0x1.e529c6fce9bb4p-6};
// (atan(x) - x) / x^3 over x^2, |x| <= tan(pi/8)
constexpr double kAtanF[] = {-0x1.55555445f9781p-2, 0x1.99972e94b0b70p-3, -0x1.241fe6a0f8387p-3,
                             0x1.b8099094da58fp-4, -0x1.082f6c98ac69ap-4};
constexpr double kAtanD[] = {-0x1.5555555555555p-2, 0x1.9999999999952p-3,  -0x1.249249248d739p-3,
                             0x1.c71c71c2fc236p-4,  -0x1.745d165c497f3p-4, 0x1.3b1392a9c2d8bp-4,
                             -0x1.110e84aa36d9dp-4, 0x1.e199c62156609p-5,  -0x1.ac7858539e493p-5,
                             0x1.74d3a7b43351ap-5,  -0x1.1b1992aa413c9p-5, 0x1.0a997ba33c1dbp-6};
// erf(x)/x - 1 over x^2, |x| <= 1
constexpr double kErfF[] = {0x1.06eba82022eadp-3,  -0x1.81274665754c3p-2, 0x1.ce2f08fec14fdp-4,
                            -0x1.b829c897922e5p-6, 0x1.562a60ddba6e6p-8,  -0x1.bccf664d7f763p-11,
                            0x1.d887505de3ba6p-14, -0x1.445f47d33d87bp-17};
constexpr double kErfD[] = {0x1.06eba8214db69p-3,   -0x1.812746b0379e7p-2,  0x1.ce2f21a042be2p-4,
                            -0x1.b82ce31288b47p-6,  0x1.565bcd0e6a2eep-8,   -0x1.c02db40035f1ep-11,
                            0x1.f9a326f7ac5b1p-14,  -0x1.f4d25bf9af03ap-17, 0x1.b9e6c38e5cf3dp-20,
                            -0x1.5f73c3bf14b91p-23, 0x1.fcbb312b48443p-27,  -0x1.517ce02f1265fp-30,
                            0x1.9a0fcb5e22c5bp-34,  -0x1.b40e7abf9f000p-38, 0x1.3c01fd3a74542p-42};
// log(erfc(x)), 1 <= x <= 4
constexpr double kErfTailF[] = {0x1.af95726f80dcep-12, -0x1.2172d3c7485b4p+0,  -0x1.430f75b62fc38p-1,
                                -0x1.c6ce6bd44162bp-4, 0x1.bbe114134fab1p-6,   -0x1.4bdd60e439499p-8,
                                0x1.67b519d5c1d00p-11, -0x1.05e17dc29c2c5p-14, 0x1.c0eec6d935858p-19,
                                -0x1.4bacb6d63054fp-24};
// erfc(x) e^(x^2) (1+2x) over t = (x-4)/(x+4)
constexpr double kErfcF[] = {0x1.3ba5916e914c8p+0,  -0x1.1df1ad267392bp-3,  0x1.f7f5e4ffa918dp-7,
                             0x1.16ecf9991eaa7p-4,  -0x1.9ddb348e61fe5p-4,  0x1.7fed2d4db9b82p-4,
                             -0x1.0fb04d1cd3514p-4, 0x1.3088af6f1398fp-5,   -0x1.0949b7edcddabp-6,
                             0x1.4817d47a98681p-8,  -0x1.a43082da14bbep-11, -0x1.80417cbaa866fp-13,
                             0x1.f00f7a51e8b20p-13, 0x1.684dec043b73ap-15};
constexpr double kErfcD[] = {
    0x1.3ba5916e9fd7fp+0,   -0x1.1df1ad154a28ep-3,  0x1.f7f5df66fd7b5p-7,   0x1.16ecefcfa539fp-4,
    -0x1.9ddb23c3e90bdp-4,  0x1.7fee004e1239ep-4,   -0x1.0fb06dfe492f7p-4,  0x1.3079edf686ea5p-5,
    -0x1.096238852a9fcp-6,  0x1.49c672849ea14p-8,   -0x1.8d4a99b4b2dd1p-11, -0x1.a1df23f69b79bp-13,
    0x1.3be036643de8fp-13,  -0x1.9959822aa4b4ep-16, -0x1.788279a7ccb3cp-17, 0x1.7f2c5c8ec5d30p-18,
    0x1.38b2e0eb4a04bp-22,  -0x1.bb60481a7ad5ap-21, 0x1.50574e6c2e71fp-24,  0x1.dd8f8b4ee1255p-24,
    -0x1.6ab00acf17e60p-26, -0x1.0a397f21020f7p-26, 0x1.caf09de37e3c0p-29,  0x1.1f46d2a2ddf67p-29,
    -0x1.2e143a04212abp-32, -0x1.86e228fbebf8ap-33};

}  // namespace flb::coefficients
