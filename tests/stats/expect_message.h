// EXPECT_MESSAGE(statement, part): the statement throws an Error (ValueError for a setting, DataError for data) whose text contains `part`.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "stats/checks.h"

#define EXPECT_MESSAGE(statement, part)                                                                \
  try {                                                                                                \
    static_cast<void>(statement);                                                                      \
    ADD_FAILURE() << "nothing thrown, expected: " << (part);                                           \
  } catch (const offramp::Error& error) {                                                              \
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "message: " << error.what(); \
  }
