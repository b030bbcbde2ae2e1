/* Tests of pgm_math.h and special.c: accuracy against values computed with 50 to 80 digits (mpmath), agreement of the vector versions with
 * the scalar ones, limits and NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pgm_math.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

/* {arguments, value} */
static const double LGAMMA[][2] = {
  {1e-300, 690.77552789821370518}, {1e-20, 46.051701859880913735}, {1e-08, 18.420680738180208884}, {0.001, 6.9071788853838536617},
  {0.1, 2.2527126517342059020}, {0.5, 0.57236494292470008707}, {0.75, 0.20328095143129537148}, {0.999999, 5.7721648738556523794e-7},
  {0.9999999999990905, 5.2497458900896243905e-13}, {1.0000000000009095, -5.2497458900760178148e-13},
  {1.000001, -5.7721484238741466506e-7}, {1.25, -0.098271836421813161464}, {1.4616321449683622, -0.12148629053584960810},
  {1.5, -0.12078223763524522235}, {1.75, -0.084401121020485555958}, {1.9999999999990905, -3.8452011276437938917e-13},
  {2.0000000000009095, 3.8452011276491286612e-13}, {2.1, 0.045437738544485179002}, {2.5, 0.28468287047291915963},
  {3.0, 0.69314718055994530942}, {3.3, 0.98709857789473440406}, {4.7, 2.7364051463155669376}, {5.5, 3.9578139676187162939},
  {6.9, 6.3927444564055958852}, {7.5, 7.5343642367587329552}, {7.999999, 8.5251593454240026313}, {8.0, 8.5251613610654143002},
  {8.5, 9.5492672573009977117}, {10.0, 12.801827480081469611}, {12.25, 18.115669505710892619}, {20.0, 39.339884187199494036},
  {50.5, 146.51925549072062722}, {171.5, 709.14316303092824227}, {1000.25, 5906.9472682711171770}, {1000000.0, 12815504.569147611660},
  {10000000000.0, 220258509288.81058147}, {1e+100, 2.2925850929940457206e+102}, {1e+300, 6.8977552789821374147e+302},
  {-0.25, 1.5895753125511859903}, {-0.5, 1.2655121234846453965}, {-0.999, 6.9081793857174363282}, {-1.5, 0.86004701537648101451},
  {-2.1, 1.5317138081950855385}, {-3.75, -1.3172679424463636739}, {-7.9, -8.0720397360128331239}, {-8.3, -9.8953571446294078487},
  {-20.5, -42.707195974825760430}, {-100.125, -362.21044642584551461}};
static const double DIGAMMA[][2] = {
  {1e-300, -9.9999999999999997494e+299}, {1e-20, -1.0000000000000000549e+20}, {1e-08, -100000000.57721564636},
  {0.001, -1000.5755719318102797}, {0.1, -10.423754940411076232}, {0.5, -1.9635100260214234794}, {0.75, -1.0858608797864721696},
  {0.999999, -0.57721730983680181412}, {0.9999999999990905, -0.57721566490302891943}, {1.0000000000009095, -0.57721566490003680179},
  {1.000001, -0.57721401996866820352}, {1.25, -0.22745353337626540809}, {1.4616321449683622, -9.2412655217294275168e-17},
  {1.5, 0.036489973978576520559}, {1.75, 0.24747245354686116371}, {1.9999999999990905, 0.42278433509788057528},
  {2.0000000000009095, 0.42278433509905370351}, {2.1, 0.48533596867983234964}, {2.5, 0.70315664064524318723},
  {3.0, 0.92278433509846713939}, {3.3, 1.0348224890596216863}, {4.7, 1.4374238096317816982}, {5.5, 1.6110931485817511237},
  {6.9, 1.8573109513316869852}, {7.5, 1.9467574842460867881}, {7.999999, 2.0156413448185864341}, {8.0, 2.0156414779556099965},
  {8.5, 2.0800908175794201214}, {10.0, 2.2517525890667211076}, {12.25, 2.4641546551853689558}, {20.0, 2.9705239922421490509},
  {50.5, 3.9120396709283919846}, {171.5, 5.1416649814339996289}, {1000.25, 6.9075052894144282581}, {1000000.0, 13.815510057964190771},
  {10000000000.0, 23.025850929890456840}, {1e+100, 230.25850929940456842}, {1e+300, 690.77552789821370526},
  {-0.25, 2.9141391202135278304}, {-0.5, 0.036489973978576520559}, {-0.999, -999.57457093080841129}, {-1.5, 0.70315664064524318723},
  {-2.1, 10.630354435334324743}, {-3.75, -1.6923885983113303432}, {-7.9, -7.5400072244194784344}, {-8.3, 4.4577892332208802259},
  {-20.5, 3.0446168825125246309}, {-100.125, 12.195880442483345875}};
static const double TRIGAMMA[][2] = {
  {1e-20, 1.0000000000000001097e+40}, {1e-08, 10000000000000001.226}, {0.001, 1000001.6425331958273}, {0.1, 101.43329915079274770},
  {0.5, 4.9348022005446793094}, {0.75, 2.5418796476716064984}, {0.999999, 1.6449364709652797986},
  {0.9999999999990905, 1.6449340668504129652}, {1.0000000000009095, 1.6449340668460399077}, {1.000001, 1.6449316627376672806},
  {1.25, 1.1973291545071107393}, {1.4616321449683622, 0.96767224544762125500}, {1.5, 0.93480220054467930942},
  {1.75, 0.76410186989382872062}, {1.9999999999990905, 0.64493406684859397584}, {2.0000000000009095, 0.64493406684785889711},
  {2.1, 0.60685286980102324816}, {2.5, 0.49035775610023486497}, {3.0, 0.39493406684822643647}, {3.3, 0.35350154184106183225},
  {4.7, 0.23699183867807337126}, {5.5, 0.19934238698962765913}, {6.9, 0.15593477421487847968}, {7.5, 0.14261589669670379977},
  {7.999999, 0.13313703239360297300}, {8.0, 0.13313701469403142513}, {8.5, 0.12483811891892602199}, {10.0, 0.10516633568168574612},
  {12.25, 0.085055142988163208079}, {20.0, 0.051270822935203119832}, {50.5, 0.019999333426637159775}, {171.5, 0.0058479365506103837617},
  {1000.25, 0.0010002499791197935140}, {1000000.0, 1.0000005000001666667e-6}, {10000000000.0, 1.0000000000500000000e-10},
  {1e+100, 9.9999999999999998410e-101}, {1e+300, 9.9999999999999994750e-301}, {-0.25, 18.541879647671606498},
  {-0.5, 8.9348022005446793094}, {-0.999, 1000002.6445361980976}, {-1.5, 9.3792466449891237539}, {-2.1, 102.97574361008327402},
  {-3.75, 19.504980060599575273}, {-7.9, 103.23693140003948262}, {-8.3, 14.965899076338780913}, {-20.5, 9.8219943446498794821},
  {-100.125, 67.383936596501530887}};
static const double LOG_PHI[][2] = {
  {-1000000.0, -500000000014.73444909}, {-100.0, -5005.5242086942050886}, {-40.0, -804.60844201375378817},
  {-37.5, -707.66898931750719107}, {-20.0, -203.91715537109726394}, {-10.0, -53.231285150512470578}, {-7.5, -31.075890902890001243},
  {-5.0, -15.064998393988725736}, {-3.3, -7.6346161480711272938}, {-2.0, -3.7831843336820319488}, {-1.5, -2.7059444008238898070},
  {-1.0, -1.8410216450092635058}, {-0.5, -1.1759117615936186089}, {-0.001, -0.69394538346696517879}, {0.0, -0.69314718055994530942},
  {1e-10, -0.69314718048015685334}, {0.25, -0.51298407540943043213}, {0.5, -0.36894641528865639307}, {1.0, -0.17275377902344988953},
  {1.7, -0.045589029170068935216}, {2.5, -0.0062290254858600023810}, {4.0, -0.000031671743377489263860},
  {6.0, -9.8658764552437573169e-10}, {8.0, -6.2209605742717860585e-16}, {10.0, -7.6198530241605260660e-24},
  {20.0, -2.7536241186062336951e-89}, {37.0, -5.7255712225245768227e-300}};
static const double BESSEL[][2] = {
  {0.0, 0.0}, {1e-08, 2.5000000000000000890e-17}, {0.01, 0.000024999843751736089773}, {0.5, 0.061549719185481303941},
  {1.0, 0.23591435850717864869}, {2.5, 1.1908386711960280203}, {5.0, 3.3046817758225334338}, {7.9, 5.9646232286121250906},
  {8.0, 6.0581042554278139454}, {8.1, 6.1516695908948127295}, {10.0, 7.9429720831186955545}, {20.0, 17.589610428244274291},
  {50.0, 47.127575501871804584}, {300.0, 296.22958759300222884}, {10000.0, 9994.4759037814323010}, {100000000.0, 99999989.870721096069}};
static const double RATIO[][2] = {
  {1e-08, 5.0000000000000000421e-9}, {0.01, 0.0049999375010416488674}, {0.5, 0.24249961258080194535}, {1.0, 0.44638996589653450705},
  {2.5, 0.76499674758880991728}, {5.0, 0.89338313704408522159}, {7.9, 0.93438128685988674218}, {8.0, 0.93523549352943860530},
  {8.1, 0.93606760593965399389}, {10.0, 0.94859982595484595897}, {20.0, 0.97467050788980712590}, {50.0, 0.98994896737849775259},
  {300.0, 0.99833193979053352715}, {10000.0, 0.99994999874987498046}, {100000000.0, 0.99999999499999998750}};
static const double LBETA[][3] = {
  {1e-200, 2.0, 460.51701859880913682}, {1e-05, 1e-05, 12.206072645365682645}, {0.1, 0.2, 2.6809784793469149048},
  {0.5, 0.5, 1.1447298858494001741}, {0.5, 10000000000.0, -10.940560522033028333}, {1.0, 1.0, 0.0}, {1.5, 7.5, -3.1910209036217624956},
  {2.0, 3.0, -2.4849066497880003102}, {7.9, 8.1, -10.847617252400042132}, {10.0, 0.001, 6.9049270802134606422},
  {12.0, 300.0, -51.160323313498386971}, {100000.0, 200000.0, -190958.88527911684967}, {100000000.0, 3.0, -54.568895081297150857},
  {10000000000.0, 10000000000.0, -13862943621.446319530}, {3.5, 1000000000000000.0, -119.68474377984032856}};
static const double LCHOOSE[][3] = {
  {0.0, 0.0, 0.0}, {1.0, 1.0, 0.0}, {5.0, 2.0, 2.3025850929940456840}, {10.0, 5.0, 5.5294290875114233067},
  {52.0, 5.0, 14.770621922970370730}, {100.0, 50.0, 66.783841652017426009}, {1000000.0, 3.0, 39.654769204662267309},
  {10000000000.0, 1000000000.0, 3250829722.6865912011}, {7.5, 2.5, 3.5608019121718774927},
  {1000000000000000.0, 2.0, 68.384405609261424211}};
static const double GAMMA_P[][3] = {
  {0.01, 1e-10, 0.79886109143360521278}, {0.01, 0.5, 0.99437324380603281585}, {0.5, 0.2, 0.47291074313446192633},
  {0.5, 30.0, 0.99999999999999051426}, {1.0, 1.0, 0.63212055882855767840}, {3.0, 0.01, 1.6542165280748768657e-7},
  {3.0, 2.0, 0.32332358381693654053}, {3.0, 20.0, 0.99999954448504944108}, {10.0, 10.0, 0.54207028552814779169},
  {30.0, 20.0, 0.021818217525557391559}, {100.0, 90.0, 0.15822098918643016810}, {100.0, 150.0, 0.99999407545966451608},
  {1000.0, 1010.0, 0.62767894473699472753}, {1000.0, 800.0, 5.5014197761792281398e-12}, {100000.0, 100100.0, 0.62444513070440549542},
  {100000.0, 99000.0, 0.00075741992117476797412}};
static const double GAMMA_Q[][3] = {
  {0.01, 1e-10, 0.20113890856639478722}, {0.01, 0.5, 0.0056267561939671841470}, {0.5, 0.2, 0.52708925686553807367},
  {0.5, 30.0, 9.4857375710738483885e-15}, {1.0, 1.0, 0.36787944117144232160}, {3.0, 0.01, 0.99999983457834719251},
  {3.0, 2.0, 0.67667641618306345947}, {3.0, 20.0, 4.5551495055892127998e-7}, {10.0, 10.0, 0.45792971447185220831},
  {30.0, 20.0, 0.97818178247444260844}, {100.0, 90.0, 0.84177901081356983190}, {100.0, 150.0, 5.9245403354839158294e-6},
  {1000.0, 1010.0, 0.37232105526300527247}, {1000.0, 800.0, 0.99999999999449858022}, {100000.0, 100100.0, 0.37555486929559450458},
  {100000.0, 99000.0, 0.99924258007882523203}};
static const double BETA_I[][4] = {
  {0.01, 0.02, 0.3, 0.66117842725110733012},
  {0.5, 0.5, 0.1, 0.20483276469913345754},
  {1.0, 3.0, 0.2, 0.48800000000000002132},
  {2.0, 3.0, 0.9, 0.99630000000000000240},
  {5.0, 0.1, 0.99, 0.23091107921565366059},
  {20.0, 30.0, 0.4, 0.50770019965764800544},
  {20.0, 30.0, 0.1, 1.5694545999362012912e-8},
  {300.0, 200.0, 0.6, 0.49757138368006800431},
  {300.0, 200.0, 0.4, 1.0619191726410098797e-19},
  {0.001, 50.0, 0.0001, 0.99527436487029281102},
  {10.0, 2.0, 0.999999, 0.99999999994500033000},
};

#define ROWS(table) (sizeof(table) / sizeof *(table))

/* |got - want| <= tolerance * max(|want|, scale); scale 0: purely relative */
static void assert_close(const char *what, double x, double got, double want, double tolerance, double scale)
{
  double size = fabs(want) > scale ? fabs(want) : scale;
  if (!(fabs(got - want) <= tolerance * size || got == want))
    fail_msg("%s at %.17g: %.17g instead of %.17g (%.1f units of 1e-16)", what, x, got, want, fabs(got - want) / size * 1e16);
}

static void check_table(const char *what, double (*f)(double), const double (*table)[2], size_t n, double tolerance, double scale)
{
  for (size_t i = 0; i < n; i++) assert_close(what, table[i][0], f(table[i][0]), table[i][1], tolerance, scale);
}

static void test_lgamma(void **state)
{
  (void)state;
  check_table("lgamma", pgm_lgamma, LGAMMA, ROWS(LGAMMA), 2e-15, 0);
  assert_true(pgm_lgamma(1) == 0 && pgm_lgamma(2) == 0);
  assert_true(isinf(pgm_lgamma(0)) && isinf(pgm_lgamma(-3)) && isinf(pgm_lgamma(HUGE_VAL)));
  assert_true(isnan(pgm_lgamma(NAN)));
  for (double x = 0.01; x < 200; x *= 1.003)  /* 80-bit arithmetic where there is one */
    assert_close("lgamma", x, pgm_lgamma(x), (double)lgammal((long double)x), 2e-15, 0.05);
}

static void test_digamma(void **state)
{
  (void)state;
  check_table("digamma", pgm_digamma, DIGAMMA, ROWS(DIGAMMA), 4e-15, 0.2);
  assert_true(pgm_digamma(0) == -HUGE_VAL && pgm_digamma(HUGE_VAL) == HUGE_VAL && isnan(pgm_digamma(NAN)));
  check_table("trigamma", pgm_trigamma, TRIGAMMA, ROWS(TRIGAMMA), 4e-15, 0);
  assert_true(pgm_trigamma(0) == HUGE_VAL && pgm_trigamma(HUGE_VAL) == 0 && isnan(pgm_trigamma(NAN)));
}

static void test_lbeta(void **state)
{
  (void)state;
  for (size_t i = 0; i < ROWS(LBETA); i++) {
    assert_close("lbeta", LBETA[i][0], pgm_lbeta(LBETA[i][0], LBETA[i][1]), LBETA[i][2], 1e-14, 1);
    assert_true(pgm_lbeta(LBETA[i][0], LBETA[i][1]) == pgm_lbeta(LBETA[i][1], LBETA[i][0]));
  }
  for (size_t i = 0; i < ROWS(LCHOOSE); i++)
    assert_close("lchoose", LCHOOSE[i][0], pgm_lchoose(LCHOOSE[i][0], LCHOOSE[i][1]), LCHOOSE[i][2], 1e-14, 1);
  assert_true(pgm_lchoose(9, 0) == 0 && pgm_lchoose(9, 9) == 0);
}

static void test_log_phi(void **state)
{
  (void)state;
  check_table("std_normal_lcdf", pgm_std_normal_lcdf, LOG_PHI, ROWS(LOG_PHI), 1e-13, 0);
  assert_true(pgm_std_normal_lcdf(-HUGE_VAL) == -HUGE_VAL && pgm_std_normal_lcdf(HUGE_VAL) == 0 && isnan(pgm_std_normal_lcdf(NAN)));
  for (double x = -37; x < 37; x += 0.37) assert_close("Phi", x, pgm_Phi(x), exp(pgm_std_normal_lcdf(x)), 3e-13, 0);
}

static void test_bessel(void **state)
{
  (void)state;
  check_table("log_bessel_i0", pgm_log_bessel_i0, BESSEL, ROWS(BESSEL), 4e-15, 0);
  check_table("bessel ratio", pgm_bessel_i1_over_i0, RATIO, ROWS(RATIO), 4e-15, 0);
  assert_true(pgm_bessel_i1_over_i0(-3) == -pgm_bessel_i1_over_i0(3) && pgm_bessel_i1_over_i0(0) == 0);
  assert_true(pgm_log_bessel_i0(-20) == pgm_log_bessel_i0(20) && isnan(pgm_log_bessel_i0(NAN)) && isnan(pgm_bessel_i1_over_i0(NAN)));
}

static void test_incomplete(void **state)
{
  (void)state;
  for (size_t i = 0; i < ROWS(GAMMA_P); i++) {
    assert_close("gamma_p", GAMMA_P[i][0], pgm_gamma_p(GAMMA_P[i][0], GAMMA_P[i][1]), GAMMA_P[i][2], 1e-12, 1e-3);
    assert_close("gamma_q", GAMMA_Q[i][0], pgm_gamma_q(GAMMA_Q[i][0], GAMMA_Q[i][1]), GAMMA_Q[i][2], 1e-12, 1e-3);
  }
  for (size_t i = 0; i < ROWS(BETA_I); i++) {
    const double *t = BETA_I[i];
    double q, p = pgm_beta_i(t[0], t[1], t[2], &q);
    assert_close("beta_i", t[0], p, t[3], 2e-12, 0);
    assert_close("beta_i complement", t[0], q, 1 - t[3], 1e-12, 1e-3);
  }
  /* both tails keep their relative accuracy */
  assert_close("gamma_q", 3, pgm_gamma_q(3, 200), exp(-200) * (1 + 200 + 20000), 1e-13, 0);
  assert_close("gamma_p", 3, pgm_gamma_p(3, 1e-6), 1e-18 / 6 * (1 - 0.75e-6), 1e-12, 0);
  assert_true(isnan(pgm_gamma_p(-1, 1)) && isnan(pgm_gamma_q(1, -1)) && isnan(pgm_beta_i(1, 1, 2, NULL)));
}

/* ---- compositions ---------------------------------------------------------------------------------------------------------------- */

static void test_logistic_family(void **state)
{
  (void)state;
  for (double x = -800; x <= 800; x += 0.731) {
    long double e = expl((long double)x);
    assert_close("inv_logit", x, pgm_inv_logit(x), (double)(x > 700 ? 1 : e / (1 + e)), 1e-15, DBL_MIN);
    assert_close("softplus", x, pgm_softplus(x), (double)log1pl(e), 1e-15, DBL_MIN);
    assert_close("log_inv_logit", x, pgm_log_inv_logit(x), (double)-log1pl(expl(-(long double)x)), 1e-15, DBL_MIN);
    assert_close("log1m_inv_logit", x, pgm_log1m_inv_logit(x), (double)-log1pl(e), 1e-15, DBL_MIN);
    if (fabs(x) < 30) assert_close("logit", x, pgm_logit(pgm_inv_logit(x)), x, x < 0 ? 1e-14 : 4e-16 * exp(x) + 1e-14, 1);
  }
  assert_true(pgm_inv_logit(-HUGE_VAL) == 0 && pgm_inv_logit(HUGE_VAL) == 1 && isnan(pgm_inv_logit(NAN)) && isnan(pgm_softplus(NAN)));
  assert_true(pgm_softplus(-HUGE_VAL) == 0 && pgm_softplus(HUGE_VAL) == HUGE_VAL && pgm_logit(0) == -HUGE_VAL && pgm_logit(1) == HUGE_VAL);
}

static long double log1m_expl(long double x) { return x < -0.7L ? log1pl(-expl(x)) : logl(-expm1l(x)); }

static void test_log_arithmetic(void **state)
{
  (void)state;
  for (double x = -1e-12; x > -700; x *= 1.1) {
    assert_close("log1m_exp", x, pgm_log1m_exp(x), (double)log1m_expl((long double)x), 2e-15, DBL_MIN);
    assert_close("log_diff_exp", x, pgm_log_diff_exp(5, 5 + x), 5 + (double)log1m_expl((long double)(5 + x) - 5), 2e-15, 1);
    assert_close("log_sum_exp", x, pgm_log_sum_exp2(x, 2 * x), x + (double)log1pl(expl((long double)x)), 2e-15, 1);
  }
  assert_true(pgm_log1m_exp(0) == -HUGE_VAL && pgm_log1m_exp(-HUGE_VAL) == 0 && isnan(pgm_log1m_exp(1)) && isnan(pgm_log1m_exp(NAN)));
  assert_true(pgm_log_diff_exp(2, 2) == -HUGE_VAL && pgm_log_diff_exp(-HUGE_VAL, -HUGE_VAL) == -HUGE_VAL);
  assert_true(pgm_log_diff_exp(2, -HUGE_VAL) == 2 && isnan(pgm_log_diff_exp(1, 2)));
  assert_true(pgm_log_sum_exp2(-HUGE_VAL, 3) == 3 && pgm_log_sum_exp2(-HUGE_VAL, -HUGE_VAL) == -HUGE_VAL);
  assert_true(pgm_xlogy(0, 0) == 0 && pgm_xlog1my(0, 1) == 0 && pgm_xlogy(2, 3) == 2 * log(3) && isnan(pgm_xlogy(0, NAN)));
}

static void test_activations(void **state)
{
  (void)state;
  assert_true(pgm_relu(-2) == 0 && pgm_relu(2) == 2 && isnan(pgm_relu(NAN)));
  assert_true(pgm_leaky_relu(-2, 0.25) == -0.5 && pgm_leaky_relu(2, 0.25) == 2 && isnan(pgm_leaky_relu(NAN, 0.2)));
  assert_true(pgm_sign(-3) == -1 && pgm_sign(0) == 0 && pgm_sign(3) == 1 && isnan(pgm_sign(NAN)));
  assert_true(pgm_step(-3) == 0 && pgm_step(0) == 1 && isnan(pgm_step(NAN)));
  assert_true(pgm_fmax(NAN, 1) == 1 && pgm_fmax(1, NAN) == 1 && pgm_fmax(1, 2) == 2 && isnan(pgm_fmax(NAN, NAN)));
  assert_true(pgm_fmin(NAN, 1) == 1 && pgm_fmin(1, NAN) == 1 && pgm_fmin(1, 2) == 1 && isnan(pgm_fmin(NAN, NAN)));
  assert_close("gelu", 1, pgm_gelu(1), 0.84134474606854294859, 1e-15, 0);
}

/* ---- vector versions agree with scalar ones, NaN and infinity included ------------------------------------------------------------------ */

enum { N = 1003 };
static double in[N], out[N];

/* Fills `in` with values between -r and r (or 0 and r) and some special ones. */
static void fill(double r, int positive)
{
  for (int i = 0; i < N; i++) in[i] = positive ? r * (i + 0.5) / N : r * (2.0 * i / N - 1);
  in[7] = NAN, in[11] = HUGE_VAL, in[13] = 0, in[17] = 1e-300, in[19] = 1e300;
  if (!positive) in[23] = -HUGE_VAL;
}

static void compare(const char *what, double (*f)(double), double tolerance)
{
  int n_nan = 0;
  for (int i = 0; i < N; i++) {
    double want = f(in[i]);
    n_nan += isnan(out[i]) != 0;
    if (isnan(want)) assert_true(isnan(out[i]));
    else assert_close(what, in[i], out[i], want, tolerance, 1e-3);
  }
  assert_true(n_nan >= 1); /* the NaN that went in came out: isnan survives the flags */
}

#define VECTOR_TEST(name, range, positive, tolerance)                                                                                      \
  static double scalar_##name(double x) { return name(x); }                                                                                 \
  static void vector_##name(void **state)                                                                                                   \
  {                                                                                                                                         \
    (void)state;                                                                                                                            \
    fill(range, positive);                                                                                                                  \
    _Pragma("omp simd") for (int i = 0; i < N; i++) out[i] = name(in[i]);                                                                   \
    compare(#name, scalar_##name, tolerance);                                                                                               \
  }

VECTOR_TEST(exp, 700, 0, 2e-15)
VECTOR_TEST(log, 1e5, 1, 2e-15)
VECTOR_TEST(log1p, 1e3, 1, 2e-15)
VECTOR_TEST(expm1, 30, 0, 2e-15)
VECTOR_TEST(sin, 1e3, 0, 2e-13)
VECTOR_TEST(cos, 1e3, 0, 2e-13)
VECTOR_TEST(tanh, 5, 0, 2e-15)
VECTOR_TEST(erfc, 20, 0, 4e-15)
VECTOR_TEST(pgm_inv_logit, 800, 0, 2e-15)
VECTOR_TEST(pgm_softplus, 800, 0, 2e-15)
VECTOR_TEST(pgm_log_inv_logit, 800, 0, 2e-15)
VECTOR_TEST(pgm_log1m_exp, 40, 0, 2e-15)
VECTOR_TEST(pgm_gelu, 10, 0, 4e-15)
VECTOR_TEST(pgm_lgamma, 30, 0, 1e-14)
VECTOR_TEST(pgm_digamma, 30, 1, 1e-14)
VECTOR_TEST(pgm_trigamma, 30, 1, 1e-14)
VECTOR_TEST(pgm_std_normal_lcdf, 40, 0, 4e-15)
VECTOR_TEST(pgm_log_bessel_i0, 40, 0, 4e-15)
VECTOR_TEST(pgm_bessel_i1_over_i0, 40, 0, 4e-15)

#define RUN(name) cmocka_unit_test(name)
int main(void)
{
  const struct CMUnitTest tests[] = {
    RUN(test_lgamma), RUN(test_digamma), RUN(test_lbeta), RUN(test_log_phi), RUN(test_bessel), RUN(test_incomplete),
    RUN(test_logistic_family), RUN(test_log_arithmetic), RUN(test_activations),
    RUN(vector_exp), RUN(vector_log), RUN(vector_log1p), RUN(vector_expm1), RUN(vector_sin), RUN(vector_cos), RUN(vector_tanh),
    RUN(vector_erfc), RUN(vector_pgm_inv_logit), RUN(vector_pgm_softplus), RUN(vector_pgm_log_inv_logit), RUN(vector_pgm_log1m_exp),
    RUN(vector_pgm_gelu), RUN(vector_pgm_lgamma), RUN(vector_pgm_digamma), RUN(vector_pgm_trigamma), RUN(vector_pgm_std_normal_lcdf),
    RUN(vector_pgm_log_bessel_i0), RUN(vector_pgm_bessel_i1_over_i0),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
