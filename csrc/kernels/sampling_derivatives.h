// Derivatives of random draws with respect to the parameters of their distributions, in double.
//
// Implicit reparameterisation (Figurnov, Mohamed and Mnih, 2018, arXiv:1805.08498): a draw x with distribution function
// F(x; a) moves with its parameter as dx/da = -(dF/da) / (dF/dx), for which no generator has to be differentiated.
#pragma once

namespace flb::special {

// Of a draw x from the gamma distribution with shape a and rate 1, with respect to a.
double gamma_draw_derivative(double a, double x);

// Of a draw x from Beta(a, b), with respect to a.
double beta_draw_derivative(double x, double a, double b);

}  // namespace flb::special
