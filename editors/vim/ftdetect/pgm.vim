" Models are called .pgm, as portable graymaps are, which begin with P2 or P5.
autocmd BufNewFile,BufRead *.pgm if getline(1) !~# '^P[25]\>' | set filetype=pgm | endif
