// EXPECT_MESSAGE(statement, part): the statement throws stats::ValueError whose text contains `part`.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "stats/errors.h"

#define EXPECT_MESSAGE(statement, part)                                                                \
  try {                                                                                                \
    static_cast<void>(statement);                                                                      \
    ADD_FAILURE() << "nothing thrown, expected: " << (part);                                           \
  } catch (const offramp::stats::ValueError& error) {                                                  \
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "message: " << error.what(); \
  }
