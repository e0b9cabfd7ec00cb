#include <vector>

#include "docs/labs/labs.h"

namespace {

double best_threshold(int n, const double* score, const int* member) {
  double best = 0;
  int most = -1;
  for (int candidate = -1; candidate < n; ++candidate) {
    const double t = candidate < 0 ? -INFINITY : score[candidate];
    int right = 0;
    for (int i = 0; i < n; ++i) right += (score[i] > t) == (member[i] == 1);
    if (right > most) most = right, best = t;
  }
  return best;
}

// Of a record's place, as good as drawn.
unsigned mixed(unsigned i) {
  i = (i ^ 61u ^ (i >> 16)) * 9u;
  i = (i ^ (i >> 4)) * 0x27d4eb2du;
  return (i ^ (i >> 15)) * 0x9e3779b1u;
}

}  // namespace

double attack_accuracy(int known,
                       const double* known_score,
                       const int* known_member,
                       int judged,
                       const double* score,
                       const int* member) {
  const double t = best_threshold(known, known_score, known_member);
  int right = 0;
  for (int i = 0; i < judged; ++i) right += (score[i] > t) == (member[i] == 1);
  return static_cast<double>(right) / judged;
}

double control_accuracy(int n, const double* member_score) {
  std::vector<double> known_score, score;
  std::vector<int> known_member, member;
  // Of four neighbours one each plays member and non-member, known and judged.
  for (int i = 0; i < n; ++i) {
    const int role = (i + (mixed(i / 4) >> 30)) % 4;
    (role < 2 ? known_score : score).push_back(member_score[i]);
    (role < 2 ? known_member : member).push_back(role % 2);
  }
  return attack_accuracy(
      known_score.size(), known_score.data(), known_member.data(), score.size(), score.data(), member.data());
}
