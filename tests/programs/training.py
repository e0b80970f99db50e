"""Training in the causal, masked and permutation ways with transformers' Trainer and collators, and in bfloat16 autocast;
checkpoints, going on from one, files of both kinds.

`python training.py OUT.json FOLDER` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import os
import sys
import warnings

import torch
import transformers as T
from tokenizers import Tokenizer, models, pre_tokenizers

warnings.simplefilter("ignore")
T.logging.set_verbosity_error()

TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)


def tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(55))]
    words = {word: i for i, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return T.PreTrainedTokenizerFast(tokenizer_object=made, **special)


class Sentences(torch.utils.data.Dataset):
    def __init__(self, count):
        self.ids = torch.randint(5, 60, (count, 16), generator=torch.Generator().manual_seed(7))

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        return {"input_ids": self.ids[index].tolist(), "attention_mask": [1] * 16}


def gpt2():
    return T.GPT2LMHeadModel(
        T.GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=60, n_positions=64, **TOKENS)
    )


def bert():
    return T.BertForMaskedLM(
        T.BertConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    )


def xlnet():
    return T.XLNetLMHeadModel(
        T.XLNetConfig(vocab_size=60, d_model=32, n_layer=2, n_head=4, d_inner=64, **TOKENS)
    )


WAYS = {
    "causal": (gpt2, T.DataCollatorForLanguageModeling, dict(mlm=False), {}),
    "causal in bfloat16": (gpt2, T.DataCollatorForLanguageModeling, dict(mlm=False), dict(bf16=True)),
    "masked": (bert, T.DataCollatorForLanguageModeling, dict(mlm=True, mlm_probability=0.3), {}),
    "permutation": (
        xlnet,
        T.DataCollatorForPermutationLanguageModeling,
        dict(plm_probability=1 / 6, max_span_length=5),
        {},
    ),
}


def trainer(way, folder):
    make, collator, options, settings = WAYS[way]
    torch.manual_seed(0)
    arguments = T.TrainingArguments(
        output_dir=folder,
        max_steps=6,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        warmup_steps=2,
        lr_scheduler_type="cosine",
        weight_decay=0.01,
        logging_steps=1,
        save_steps=3,
        eval_strategy="steps",
        eval_steps=3,
        report_to=[],
        seed=11,
        use_cpu=True,
        disable_tqdm=True,
        **settings,
    )
    return T.Trainer(
        model=make(),
        args=arguments,
        train_dataset=Sentences(32),
        eval_dataset=Sentences(8),
        data_collator=collator(tokenizer(), **options),
    )


def history(run):
    names = ("loss", "grad_norm", "learning_rate", "eval_loss")
    return [[float(entry[name]) for name in names if name in entry] for entry in run.state.log_history[:-1]]


def observe(way, folder):
    first = trainer(way, folder)
    first.train()
    resumed = trainer(way, folder)
    resumed.train(resume_from_checkpoint=os.path.join(folder, "checkpoint-3"))
    pairs = zip(first.model.parameters(), resumed.model.parameters(), strict=True)
    return {
        "history": history(first),
        "weights": float(sum(p.detach().double().abs().sum() for p in first.model.parameters())),
        "same after going on": all(torch.equal(a, b) for a, b in pairs),
        "files": sorted(os.listdir(os.path.join(folder, "checkpoint-3"))),
        "evaluation": first.evaluate()["eval_loss"],
    }


def files(folder):
    torch.manual_seed(0)
    model = gpt2()
    model.save_pretrained(folder)
    found = {"files": sorted(os.listdir(folder))}
    loaded = T.AutoModelForCausalLM.from_pretrained(folder)
    narrow = T.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    found["bfloat16"] = [str(narrow.dtype), float(sum(p.double().abs().sum() for p in narrow.parameters()))]
    os.remove(os.path.join(folder, "model.safetensors"))
    torch.save(model.state_dict(), os.path.join(folder, "pytorch_model.bin"))
    pickled = T.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=False)
    weights = [list(each.state_dict().values()) for each in (model, loaded, pickled)]
    found["same"] = all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*weights, strict=True))
    return found


if __name__ == "__main__":
    out, folder = sys.argv[1:]
    found = {way: observe(way, os.path.join(folder, way)) for way in WAYS}
    found["files"] = files(os.path.join(folder, "saved"))
    with open(out, "w") as file:
        json.dump(found, file, indent=0)
