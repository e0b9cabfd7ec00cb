#pragma once
// Of the stand-in for cudart.
void fail_cuda_calls(bool fail);  // from now on
int cuda_calls();                 // calls that could have failed, so far
